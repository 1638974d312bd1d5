"""GWF as gwclient reads it: files of the store's own writer, whole and damaged."""

from __future__ import annotations

import random
from array import array
from fractions import Fraction

import pytest

from shared.strain.formats import gwf

pytest.importorskip("numpy", reason="needs the client's packages: make .venv/.extras")

from gwclient.errors import NoData
from gwclient.sources import frames

T0 = 1126259446 + Fraction(3, 16384)
A = array("d", [1e-21, -2.5e-22, 5e-324, -0.0, float("nan"), 1.7e308])
B = array("d", range(9))


@pytest.mark.parametrize("compress", [False, True])
def test_what_the_store_writes_comes_back(tmp_path, compress):
    path = tmp_path / "x.gwf"
    path.write_bytes(gwf.write([("V1:A", T0, 16384.0, A), ("V1:B", T0 + 1, 0.5, B)], compress))
    for name, samples, start, interval in [("V1:A", A, T0, Fraction(1, 16384)), ("V1:B", B, T0 + 1, Fraction(2))]:
        found, t0, spacing = frames.read(path, name)
        assert found.tobytes() == samples.tobytes()
        assert (abs(t0 - start) < Fraction(1, 10**12), spacing) == (True, interval)
    with pytest.raises(NoData, match="no channel V1:C"):
        frames.read(path, "V1:C")


def test_a_damaged_file_is_refused_or_read(tmp_path):
    """Nothing but NoData and Unsupported is raised, whatever the bytes are."""
    dice, path = random.Random(1), tmp_path / "x.gwf"
    whole = gwf.write([("V1:A", T0, 16384.0, A)], compress=True)
    outcomes = set()
    for _ in range(400):
        damaged = bytearray(whole)
        for _ in range(dice.choice((1, 1, 4))):
            damaged[dice.randrange(len(damaged))] = dice.randrange(256)
        path.write_bytes(damaged[: dice.choice((len(damaged), dice.randrange(1, len(damaged))))])
        try:
            frames.read(path, "V1:A")
            outcomes.add("read")
        except (NoData, frames.Unsupported) as error:
            outcomes.add(type(error).__name__)
    assert {"read", "NoData"} <= outcomes


def test_a_deflated_vector_is_not_inflated_beyond_its_samples(tmp_path):
    path = tmp_path / "x.gwf"
    zeros = gwf.write([("V1:A", T0, 4.0, bytes(8 << 20))], compress=True)
    at = zeros.index((1 << 20).to_bytes(8, "little"))  # nData
    path.write_bytes(zeros[:at] + (1000).to_bytes(8, "little") + zeros[at + 8 :])
    with pytest.raises(NoData, match="8001 bytes of samples instead of 8000"):
        frames.read(path, "V1:A")
