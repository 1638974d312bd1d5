"""Runs the tests that need a cluster, for one overlay after the other: `python -m tests.e2e`, which `make e2e` calls.

DATASTORE_OVERLAY names some of them; by default all.
"""

from __future__ import annotations

import os
import subprocess
import sys

from tests.support import ROOT
from tests.support.manifests import OVERLAYS

# A cold pod on a busy node takes its time, and setup and teardown belong to the first and the last test.
PYTEST = ["-m", "pytest", "-v", "-rs", "--durations=10", "--timeout=900", "-p", "no:cacheprovider"]
TESTS = ["tests/e2e", "tests/contract/test_data_buffer.py", "--ignore=tests/e2e/test_e2e_tools.py"]


def main() -> int:
    """Run them; return the exit code."""
    results = {}
    for overlay in os.environ.get("DATASTORE_OVERLAY", "").split() or OVERLAYS:
        print(f"\n==== overlay {overlay}", flush=True)
        env = {**os.environ, "DATASTORE_OVERLAY": overlay}
        results[overlay] = subprocess.run(
            [sys.executable, *PYTEST, *TESTS, *sys.argv[1:]], env=env, cwd=ROOT
        ).returncode
    for overlay, code in results.items():
        print(f"{overlay}: {'passed' if code == 0 else f'failed ({code})'}")
    return int(any(results.values()))


if __name__ == "__main__":
    sys.exit(main())
