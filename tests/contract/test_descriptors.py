"""File descriptors: a process takes as many as it may have, and never more connections than leave it enough."""

from __future__ import annotations

import resource
import subprocess
import sys

from tests.support import ROOT
from tests.support.servers import Store

STATEMENT = """
import logging, resource, sys
from shared.serve.descriptors import connections_within
logging.basicConfig(stream=sys.stdout, format="%(message)s")
print(connections_within(int(sys.argv[1])), resource.getrlimit(resource.RLIMIT_NOFILE)[0])
"""


def connections(wanted: int, soft: int, hard: int) -> tuple[list[str], str]:
    """Connections and soft limit in a process that starts with these limits, and its log."""
    found = subprocess.run(
        [sys.executable, "-c", STATEMENT, str(wanted)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard)),
    )
    *log, numbers = found.stdout.splitlines()
    return numbers.split(), "\n".join(log)


def test_the_soft_limit_is_raised():
    assert connections(1024, 256, 4096) == (["1024", "4096"], "")


def test_connections_stay_below_a_low_limit():
    numbers, log = connections(1024, 256, 600)
    assert numbers == ["344", "600"]
    assert "MAX_CONNECTIONS" in log


def test_a_server_raises_its_own(tmp_path, topology):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard // 2, hard))
    try:
        with Store(topology, tmp_path / "store") as store:
            for process in store.processes.values():
                assert resource.prlimit(process.process.pid, resource.RLIMIT_NOFILE) == (hard, hard)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
