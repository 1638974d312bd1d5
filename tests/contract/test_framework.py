"""Every function is a plain functions-framework target too: the framework's own command serves it alike."""

from __future__ import annotations

import os
import subprocess
import sys
import time

import pytest
import urllib3

from tests.support import ROOT
from tests.support.builders import segment
from tests.support.checks import check_archive
from tests.support.servers import Store, http


@pytest.fixture
def framework(tmp_path):
    """A function that starts a target with the framework's command; ended with the test."""
    processes = []

    def start(target, port, **env):
        clean = {k: v for k, v in os.environ.items() if k in ("PATH", "LANG")}
        clean |= {"PYTHONPATH": str(ROOT), "ROOT": str(tmp_path / "store"), "HOME": str(tmp_path), "PREPROC": "off"}
        source = ROOT / "functions" / target / "main.py"
        command = ["-m", "functions_framework", f"--target={target}", f"--source={source}"]
        log = (tmp_path / f"{target}.log").open("wb")
        processes.append(
            subprocess.Popen(
                [sys.executable, "-W", "ignore", *command, "--host=127.0.0.1", f"--port={port}"],
                env={**clean, **env},
                stdout=log,
                stderr=log,
            )
        )
        log.close()
        return processes[-1]

    yield start
    for process in processes:
        process.terminate()
    for process in processes:
        process.wait(30)


def ready(url):
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            if http.request("GET", url + "/health/readiness", timeout=2).status == 200:
                return
        except urllib3.exceptions.HTTPError:
            pass
        time.sleep(0.05)
    raise AssertionError(f"{url} is not ready")


@pytest.mark.parametrize("topology", ["embedded", "split"])
def test_the_frameworks_own_command_serves_the_store(topology, framework, tmp_path):
    store = Store(topology, tmp_path / "store")  # not started: it says which functions there are, and where
    more = {"WRITER_URL": store.writer.url} if topology == "split" else {}
    wanted = {store.url(route).rsplit(":", 1)[1].split("/")[0] for route in ("/sendF", "/stat", "/dumpF", "/cleanall")}
    names = [n for n, p in store.processes.items() if str(p.port) in wanted or n == "writer"]
    for name in names:
        framework(name, store.processes[name].port, **more)
    for name in names:
        ready(store.processes[name].url)
    stored = store.stored(segment(4))
    assert store.send(b"nonsense").json()["code"] == "ERRFMT"
    assert store.stat() == {"n_itm": 1, "buff_size": len(segment(4))}
    assert store.names() == [stored]
    assert store.cleanall().status == 201
    (archive,) = store.archives()
    assert check_archive(archive) == {stored: segment(4)}
