"""Writing GWF, the frame format of the field, version 8.

Source: LIGO-T970130, the public specification. A file is a header, the dictionary of its structures, one frame with a
FrProcData and a FrVect for each channel, and a table of contents. The dictionary below is what is written into the
file, and what the structures are encoded by. There are no checksums.
"""

from __future__ import annotations

import math
import struct
import sys
import zlib
from array import array
from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import NamedTuple

_CLASSES = {"FrSH": 1, "FrSE": 2, "FrameH": 3, "FrEndOfFile": 6, "FrEndOfFrame": 7, "FrProcData": 11, "FrTOC": 19,
            "FrVect": 20}  # fmt: skip

_DICTIONARY = {
    "FrameH": """name STRING, run INT_4S, frame INT_4U, dataQuality INT_4U, GTimeS INT_4U, GTimeN INT_4U, ULeapS INT_2U,
        dt REAL_8, type FrVect*, user FrVect*, detectSim FrDetector*, detectProc FrDetector*, history FrHistory*,
        rawData FrRawData*, procData FrProcData*, simData FrSimData*, event FrEvent*, simEvent FrSimEvent*,
        summaryData FrSummary*, auxData FrVect*, auxTable FrTable*, chkSum INT_4U""",
    "FrProcData": """name STRING, comment STRING, type INT_2U, subType INT_2U, timeOffset REAL_8, tRange REAL_8,
        fShift REAL_8, phase REAL_4, fRange REAL_8, BW REAL_8, nAuxParam INT_2U, auxParam REAL_8[nAuxParam],
        auxParamNames STRING[nAuxParam], data FrVect*, aux FrVect*, table FrTable*, history FrHistory*,
        next FrProcData*, chkSum INT_4U""",
    "FrVect": """name STRING, compress INT_2U, type INT_2U, nData INT_8U, nBytes INT_8U, data CHAR[nBytes], nDim INT_4U,
        nx INT_8U[nDim], dx REAL_8[nDim], startX REAL_8[nDim], unitX STRING[nDim], unitY STRING, next FrVect*,
        chkSum INT_4U""",
    "FrEndOfFrame": "run INT_4S, frame INT_4U, GTimeS INT_4U, GTimeN INT_4U, chkSum INT_4U",
    "FrTOC": """ULeapS INT_2S, nFrame INT_4U, dataQuality INT_4U[nFrame], GTimeS INT_4U[nFrame], GTimeN INT_4U[nFrame],
        dt REAL_8[nFrame], runs INT_4S[nFrame], frame INT_4U[nFrame], positionH INT_8U[nFrame],
        nFirstADC INT_8U[nFrame], nFirstSer INT_8U[nFrame], nFirstTable INT_8U[nFrame], nFirstMsg INT_8U[nFrame],
        nSH INT_4U, SHid INT_2U[nSH], SHname STRING[nSH], nDetector INT_4U, nameDetector STRING[nDetector],
        positionDetector INT_8U[nDetector], nStatType INT_4U, nameStat STRING[nStatType], detector STRING[nStatType],
        nStatInstance INT_4U[nStatType], nTotalStat INT_4U, tStart INT_4U[nTotalStat], tEnd INT_4U[nTotalStat],
        version INT_4U[nTotalStat], positionStat INT_8U[nTotalStat], nADC INT_4U, name STRING[nADC],
        channelID INT_4U[nADC], groupID INT_4U[nADC], positionADC INT_8U[nADC][nFrame], nProc INT_4U,
        nameProc STRING[nProc], positionProc INT_8U[nProc][nFrame], nSim INT_4U, nameSim STRING[nSim],
        positionSim INT_8U[nSim][nFrame], nSer INT_4U, nameSer STRING[nSer], positionSer INT_8U[nSer][nFrame],
        nSummary INT_4U, nameSum STRING[nSummary], positionSum INT_8U[nSummary][nFrame], nEventType INT_4U,
        nameEvent STRING[nEventType], nEvent INT_4U[nEventType], nTotalEvent INT_4U, GTimeSEvent INT_4U[nTotalEvent],
        GTimeNEvent INT_4U[nTotalEvent], amplitudeEvent REAL_4[nTotalEvent], positionEvent INT_8U[nTotalEvent],
        nSimEventType INT_4U, nameSimEvent STRING[nSimEventType], nSimEvent INT_4U[nSimEventType],
        nTotalSEvent INT_4U, GTimeSSim INT_4U[nTotalSEvent], GTimeNSim INT_4U[nTotalSEvent],
        amplitudeSimEvent REAL_4[nTotalSEvent], positionSimEvent INT_8U[nTotalSEvent], chkSum INT_4U""",
    "FrEndOfFile": """nFrames INT_4U, nBytes INT_8U, seekTOC INT_8U, chkSumFrHeader INT_4U, chkSum INT_4U,
        chkSumFile INT_4U""",
}
_FIELDS = {
    name: [(field, kind) for field, _, kind in (item.strip().partition(" ") for item in fields.split(","))]
    for name, fields in _DICTIONARY.items()
}
_CODES = {"INT_2S": "h", "INT_2U": "H", "INT_4S": "i", "INT_4U": "I", "INT_8U": "Q", "REAL_4": "f", "REAL_8": "d"}

_PREFIX = struct.Struct("<QBBI")  # common to all structures: length, type of the checksum, class, instance
_LITTLE_ENDIAN, _GZIP = 0x100, 1  # of FrVect.compress
_REAL_8 = 2  # of FrVect.type
_TIME_SERIES = 1  # of FrProcData.type
_LEAP_SECONDS = 18  # GPS minus UTC, since 2017

Reference = tuple[int, int]
"""Class and instance of a structure; (0, 0) for none."""
Value = str | int | float | Reference | Sequence[str] | Sequence[int] | Sequence[float]


class Series(NamedTuple):
    """A channel's samples: GPS time of the first, samples per second, and how many they are."""

    name: str
    t0: Fraction
    rate: float
    n: int


def write(
    channels: Sequence[tuple[str, Fraction, float, array[float] | bytes]], compress: bool = False, unit: str = "strain"
) -> bytes:
    """A file with one frame.

    Args:
        channels: name, GPS time of the first sample, samples per second, and the samples, as bytes little-endian
            float64. Rates and times may differ.
        compress: deflate the samples. Recorded strain shrinks by a few percent, and slowly.
        unit: unit of the samples.

    Raises:
        ValueError: as `parts`.
    """
    blocks = [bytes(samples) if isinstance(samples, bytes) else _little_endian(samples) for *_, samples in channels]
    series = [
        Series(name, t0, rate, len(block) // 8) for (name, t0, rate, _), block in zip(channels, blocks, strict=True)
    ]
    if compress:
        blocks = [zlib.compress(block) for block in blocks]
    between = parts(series, unit, [len(block) for block in blocks] if compress else None)
    return b"".join(piece for pair in zip(between, [*blocks, b""], strict=True) for piece in pair)


def size(series: Sequence[Series], unit: str = "strain") -> int:
    """The length in bytes of a file without compression; its samples are not needed. Errors as `parts`."""
    return sum(map(len, parts(series, unit))) + sum(8 * one.n for one in series)


def parts(series: Sequence[Series], unit: str = "strain", compressed: Sequence[int] | None = None) -> list[bytes]:
    """All of a file but its samples: what stands before, between and after the channels' blocks of samples.

    The frame begins with its earliest sample, rounded down to a nanosecond.

    Args:
        series: the channels, in the order of their blocks.
        unit: unit of the samples.
        compressed: length in bytes of each block, where the blocks are deflated.

    Returns:
        One part more than there are channels.

    Raises:
        ValueError: there is no channel, a rate is not positive, or GPS time is outside [0, 2^32) s.
    """
    if not series or any(not one.rate > 0 for one in series):
        raise ValueError("a frame holds one channel at least, each with a positive sampling rate")
    start_ns = math.floor(min(one.t0 for one in series) * 10**9)
    start = Fraction(start_ns, 10**9)
    end = max(one.t0 + one.n / Fraction(one.rate) for one in series)
    if not 0 <= start < 1 << 32:
        raise ValueError(f"GPS time must be from 0 to 2^32 s, not {float(start)!r}")
    clock = {"GTimeS": start_ns // 10**9, "GTimeN": start_ns % 10**9}
    duration = float(end - start)

    file = _File()
    frame = file.add(
        "FrameH",
        name=series[0].name.partition(":")[0],
        **clock,
        ULeapS=_LEAP_SECONDS,
        dt=duration,
        procData=(_CLASSES["FrProcData"], 0),
    )
    positions = []
    for number, one in enumerate(series):
        more = number + 1 < len(series)
        positions.append(
            file.add(
                "FrProcData",
                number,
                name=one.name,
                type=_TIME_SERIES,
                timeOffset=float(one.t0 - start),
                tRange=one.n / one.rate,
                fRange=one.rate / 2,
                data=(_CLASSES["FrVect"], number),
                next=(_CLASSES["FrProcData"], number + 1) if more else (0, 0),
            )
        )
        file.add(
            "FrVect",
            number,
            name=one.name,
            compress=_LITTLE_ENDIAN | (_GZIP if compressed else 0),
            type=_REAL_8,
            nData=one.n,
            nBytes=compressed[number] if compressed else 8 * one.n,
            nDim=1,
            nx=[one.n],
            dx=[1 / one.rate],
            startX=[0.0],
            unitX=["s"],
            unitY=unit,
        )
    file.add("FrEndOfFrame", **clock)
    contents = file.add(
        "FrTOC",
        ULeapS=_LEAP_SECONDS,
        nFrame=1,
        dataQuality=[0],
        GTimeS=[clock["GTimeS"]],
        GTimeN=[clock["GTimeN"]],
        dt=[duration],
        runs=[0],
        frame=[0],
        positionH=[frame],
        nFirstADC=[0],
        nFirstSer=[0],
        nFirstTable=[0],
        nFirstMsg=[0],
        nSH=len(_FIELDS),
        SHid=[_CLASSES[name] for name in _FIELDS],
        SHname=list(_FIELDS),
        nProc=len(series),
        nameProc=[one.name for one in series],
        positionProc=positions,
    )
    last = _PREFIX.size + struct.calcsize("<IQQIII")
    total = file.position + last
    file.add("FrEndOfFile", nFrames=1, nBytes=total, seekTOC=total - contents)
    return [*file.parts, bytes(file.part)]


class _File:
    """A file as it grows: parts that are complete, and the one being written; `position` counts the samples too."""

    def __init__(self) -> None:
        self.parts: list[bytes] = []
        self.part = bytearray(_header())
        self.position = len(self.part)
        for number, (name, fields) in enumerate(_FIELDS.items()):
            described = [_text(name), struct.pack("<H", _CLASSES[name]), _text("")]
            self._structure("FrSH", number, [b"".join(described) + bytes(4)])
            for element, (field, kind) in enumerate(fields):
                kind = f"PTR_STRUCT({kind.removesuffix('*')} *)" if kind.endswith("*") else kind  # noqa: PLW2901
                self._structure("FrSE", element, [_text(field) + _text(kind) + _text("") + bytes(4)])

    def add(self, structure: str, instance: int = 0, /, **values: Value) -> int:
        """Add a structure, empty but for `values`; return its position. Samples end a part, and are not in it."""
        pieces = _encoded(structure, values)
        return self._structure(structure, instance, pieces, values.get("nBytes", 0))

    def _structure(self, name: str, instance: int, body: list[bytes], samples: Value = 0) -> int:
        """Add a structure of encoded fields."""
        position = self.position
        length = _PREFIX.size + sum(map(len, body))
        if len(body) == 2:
            assert isinstance(samples, int)
            length += samples
        self.part += _PREFIX.pack(length, 0, _CLASSES[name], instance) + body[0]
        if len(body) == 2:
            self.parts.append(bytes(self.part))
            self.part = bytearray(body[1])
        self.position += length
        return position


def _encoded(name: str, values: Mapping[str, Value]) -> list[bytes]:
    """The fields of a structure, in two pieces where samples stand between them."""
    assert values.keys() <= dict(_FIELDS[name]).keys()
    pieces = [b""]
    for field, kind in _FIELDS[name]:
        base, _, is_array = kind.partition("[")
        if base == "CHAR":
            pieces.append(b"")
        elif is_array:
            pieces[-1] += b"".join(_scalar(base, value) for value in values.get(field, ()))  # type: ignore[union-attr]
        else:
            pieces[-1] += _scalar(base, values.get(field))
    return pieces


def _scalar(kind: str, value: object) -> bytes:
    """One value; None is the empty one of its kind."""
    if kind == "STRING":
        return _text(str(value or ""))
    if kind.endswith("*"):
        reference = value or (0, 0)
        assert isinstance(reference, tuple)
        return struct.pack("<HI", *reference)
    return struct.pack(f"<{_CODES[kind]}", value or 0)


def _text(text: str) -> bytes:
    encoded = text.encode() + b"\0"
    return struct.pack("<H", len(encoded)) + encoded


def _header() -> bytes:
    """Signature, versions, sizes of the numbers, and samples of them that show the byte order."""
    numbers = struct.pack("<HIQfd", 0x1234, 0x12345678, 0x123456789ABCDEF, math.pi, math.pi)
    return b"IGWD\0" + bytes([8, 0, 2, 4, 8, 4, 8]) + numbers + bytes([0, 0])


def _little_endian(samples: array[float]) -> bytes:
    if sys.byteorder == "big":
        samples = samples[:]
        samples.byteswap()
    return samples.tobytes()
