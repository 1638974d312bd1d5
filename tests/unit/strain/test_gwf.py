"""GWF files, read back by their own dictionary."""

from __future__ import annotations

import struct
import zlib
from array import array
from fractions import Fraction

import pytest

from shared.strain.formats import gwf
from tests.support.frame_file import structures

G = Fraction(1126259446)
SAMPLES = array("d", [1e-21, -2.5e-22, 5e-324, -0.0, float("nan"), 1.7e308])

Channel = tuple[str, Fraction, float, "array[float] | bytes"]


def of(file: bytes, name: str) -> list[dict]:
    return [fields for found, _, fields in structures(file).values() if found == name]


def test_header_and_end_of_file():
    file = gwf.write([("V1:Hrec", G, 4096.0, SAMPLES)])
    assert file[:12] == b"IGWD\0\x08\x00\x02\x04\x08\x04\x08"
    assert struct.unpack_from("<HIQ", file, 12) == (0x1234, 0x12345678, 0x123456789ABCDEF)
    end = of(file, "FrEndOfFile")[0]
    assert end["nBytes"] == len(file)
    assert structures(file)[len(file) - end["seekTOC"]][0] == "FrTOC"


def test_two_channels_and_the_table_of_contents():
    channels: list[Channel] = [("V1:A", G, 4.0, SAMPLES), ("V1:B", G + Fraction(1, 2), 0.5, SAMPLES.tobytes()[:24])]
    file = gwf.write(channels, unit="m")
    found = structures(file)
    contents, frame = of(file, "FrTOC")[0], of(file, "FrameH")[0]
    for positions, name in [(contents["positionH"], "FrameH"), (contents["positionProc"], "FrProcData")]:
        assert [found[position][0] for position in positions] == [name] * len(positions)
    assert contents["nameProc"] == ["V1:A", "V1:B"]
    assert (frame["name"], frame["ULeapS"], frame["dt"], frame["procData"]) == ("V1", 18, 6.5, (11, 0))
    first, second = (found[position][2] for position in contents["positionProc"])
    assert (first["next"], first["data"], first["timeOffset"], first["tRange"]) == ((11, 1), (20, 0), 0.0, 1.5)
    assert (second["next"], second["data"], second["timeOffset"], second["tRange"]) == ((0, 0), (20, 1), 0.5, 6.0)
    vectors = of(file, "FrVect")
    assert [vector["data"] for vector in vectors] == [SAMPLES.tobytes(), SAMPLES.tobytes()[:24]]
    assert [(v["name"], v["compress"], v["type"], v["nx"], v["dx"], v["unitX"], v["unitY"]) for v in vectors] == [
        ("V1:A", 0x100, 2, [6], [0.25], ["s"], "m"),
        ("V1:B", 0x100, 2, [3], [2.0], ["s"], "m"),
    ]


def test_a_frame_does_not_begin_after_its_samples():
    t0 = G + Fraction(3, 16384)  # 183105.46875 ns
    file = gwf.write([("V1:A", t0, 16384.0, SAMPLES)])
    frame, series = of(file, "FrameH")[0], of(file, "FrProcData")[0]
    assert (frame["GTimeS"], frame["GTimeN"]) == (1126259446, 183105)
    assert series["timeOffset"] == 0.46875e-9
    end = of(file, "FrEndOfFrame")[0]
    assert (end["GTimeS"], end["GTimeN"]) == (1126259446, 183105)


def test_deflated_samples():
    vector = of(gwf.write([("V1:A", G, 4.0, SAMPLES)], compress=True), "FrVect")[0]
    assert (vector["compress"], vector["nData"]) == (0x101, 6)
    assert zlib.decompress(vector["data"]) == SAMPLES.tobytes()


def test_size_and_parts_without_samples():
    channels: list[Channel] = [
        ("V1:A", G, 4.0, SAMPLES),
        ("V1:Bé", G, 0.5, SAMPLES.tobytes()[:24]),
        ("V1:C", G, 1.0, b""),
    ]
    series = [gwf.Series(name, t0, rate, n) for (name, t0, rate, _), n in zip(channels, (6, 3, 0), strict=True)]
    file = gwf.write(channels)
    assert gwf.size(series) == len(file)
    a, b, c, d = gwf.parts(series)
    assert a + SAMPLES.tobytes() + b + SAMPLES.tobytes()[:24] + c + d == file


@pytest.mark.parametrize(
    "channels",
    [[], [("V1:A", G, 0.0, SAMPLES)], [("V1:A", Fraction(-1), 4.0, SAMPLES)], [("V1:A", Fraction(2**32), 1, SAMPLES)]],
)
def test_what_a_frame_cannot_hold(channels):
    with pytest.raises(ValueError, match=r"must be from 0|one channel at least"):
        gwf.write(channels)
