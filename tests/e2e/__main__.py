"""Runs the tests that need a cluster, for one overlay after the other: `python -m tests.e2e`, which `make e2e` calls.

DATASTORE_OVERLAY names some of them; by default all.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.support import ROOT
from tests.support.manifests import OVERLAYS

# A cold pod on a busy node takes its time, and setup and teardown belong to the first and the last test.
PYTEST = ["-m", "pytest", "-v", "-rs", "--durations=10", "--timeout=900", "-p", "no:cacheprovider"]
# The writer's first revision had no sink yet, and goes within a minute. Alerts wait for that, so others run before.
FIRST = ("test_events.py", "test_network.py", "test_scale.py", "test_alerts.py")
NOT_HERE = ("test_e2e_tools.py",)  # it needs no cluster


def chosen() -> list[str]:
    """The files with tests, in their order."""
    found = {path.name for path in Path(__file__).parent.glob("test_*.py")} - {*FIRST, *NOT_HERE}
    return [*(f"tests/e2e/{name}" for name in [*FIRST, *sorted(found)]), "tests/contract/test_data_buffer.py"]


def main() -> int:
    """Run them; return the exit code."""
    results = {}
    for overlay in os.environ.get("DATASTORE_OVERLAY", "").split() or OVERLAYS:
        print(f"\n==== overlay {overlay}", flush=True)
        env = {**os.environ, "DATASTORE_OVERLAY": overlay}
        results[overlay] = subprocess.run(
            [sys.executable, *PYTEST, *chosen(), *sys.argv[1:]], env=env, cwd=ROOT
        ).returncode
    for overlay, code in results.items():
        print(f"{overlay}: {'passed' if code == 0 else f'failed ({code})'}")
    return int(any(results.values()))


if __name__ == "__main__":
    sys.exit(main())
