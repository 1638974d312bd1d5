"""The fuzz targets, run shortly: with changes to their seeds, and guided by coverage where atheris is installed."""

from __future__ import annotations

import importlib.util
import random
import subprocess
import sys

import pytest

from tests.fuzz.targets import SEEDS, TARGETS
from tests.support import ROOT


def changed(seed: bytes, dice: random.Random) -> bytes:
    """A few bytes taken out, put in, replaced, doubled."""
    data = bytearray(seed)
    for _ in range(dice.randint(0, 6)):
        at = dice.randrange(len(data) + 1)
        kind = dice.randrange(4)
        if kind == 0:
            del data[at : at + dice.randint(1, 8)]
        elif kind == 1:
            data[at:at] = dice.randbytes(dice.randint(1, 4))
        elif kind == 2 and at < len(data):
            data[at] = dice.choice(b'{}[]",:0-9eE\\\n\0\xff#sn')
        else:
            data[at:at] = data[at : at + dice.randint(1, 20)]
    return bytes(data)


@pytest.mark.parametrize("name", TARGETS)
def test_a_target_takes_anything(name):
    dice = random.Random(1)
    for seed in [b"", *SEEDS[name]]:
        TARGETS[name](seed)
        for _ in range(400):
            TARGETS[name](changed(seed, dice))


@pytest.mark.skipif(not importlib.util.find_spec("atheris"), reason="needs atheris: make .venv/.fuzz")
def test_a_target_runs_under_the_fuzzer():
    command = [sys.executable, "-W", "ignore", "-m", "tests.fuzz", "segment", "--seconds=2"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert "nothing found" in done.stdout
