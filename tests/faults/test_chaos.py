"""A short round of random faults, always the same one; `make crash` goes on for longer."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

from tests.support import ROOT


@pytest.mark.parametrize("seed", [1, 2])  # the first on a disk that fills up, where one can be mounted
def test_a_round_of_random_faults_loses_and_doubles_nothing(seed):
    command = [sys.executable, "-W", "ignore", "-m", "tests.faults.chaos", "--seconds", "4", "--round", "4"]
    done = subprocess.run([*command, "--seed", str(seed)], cwd=ROOT, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr
    said = dict(re.findall(r"^(.*): (\d+)$", done.stdout, re.M))
    assert (said["lost"], said["double"]) == ("0", "0")
    assert int(said["acked"]) > 0
