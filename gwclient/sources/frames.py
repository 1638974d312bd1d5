"""Reading GWF by the dictionary that each file carries: raw and deflated vectors of frames of versions 6 and 8.

Source: LIGO-T970130. What the file calls its structures and fields is enough to decode them, so this needs no frame
library. Other ways of compression need one.
"""

from __future__ import annotations

import mmap
import re
import struct
import zlib
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy

from gwclient.errors import NoData
from gwclient.sources.strain import finite

_HEADER = 40  # bytes of the file's header
_COMMON = 14  # bytes that all structures begin with: length, class, instance
_CODES = {"CHAR": "b", "CHAR_U": "B", "INT_2S": "h", "INT_2U": "H", "INT_4S": "i", "INT_4U": "I", "INT_8S": "q",
          "INT_8U": "Q", "REAL_4": "f", "REAL_8": "d"}  # fmt: skip
_TYPES = {0: "i1", 1: "i2", 2: "f8", 3: "f4", 4: "i4", 5: "i8", 9: "u2", 10: "u4", 11: "u8", 12: "u1"}
_SERIES = ("FrProcData", "FrAdcData", "FrSimData")
_LITTLE_ENDIAN, _RAW, _GZIP = 0x100, 0, 1  # of FrVect.compress

Fields = dict[str, Any]


class Unsupported(Exception):
    """The file is sound as far as it was read, but needs a frame library; the text says why."""


Series = tuple[numpy.ndarray, Fraction, Fraction]
"""Samples, GPS time of the first one in seconds, and sampling interval in seconds."""


def read(path: Path, channel: str) -> Series:
    """One channel; errors as `read_all`."""
    return read_all(path, channel.__eq__, channel)[channel]


def read_all(path: Path, wanted: Callable[[str], bool], pattern: str) -> dict[str, Series]:
    """The channels that are wanted, by name, in the file's order.

    Raises:
        NoData: this is no frame file, it is damaged, or it has no such channel, or a channel has gaps. The text names
            the `pattern`.
        Unsupported: see there.
    """
    found: dict[str, list[Series]] = {}
    try:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            for name, piece in _Frames(content).series(wanted):
                found.setdefault(name, []).append(piece)
    except (struct.error, LookupError, TypeError, ValueError, OverflowError, zlib.error) as error:
        raise NoData(f"{path}: the file is damaged: {error}") from None
    if not found:
        raise NoData(f"{path}: there is no channel {pattern}")
    return {name: _joined(path, name, pieces) for name, pieces in found.items()}


def _joined(path: Path, channel: str, pieces: list[Series]) -> Series:
    _, t0, interval = pieces[0]
    position = t0
    for samples, start, spacing in pieces:
        if spacing != interval or abs(start - position) > interval / 2:
            raise NoData(f"{path}: {channel} has a gap, or another rate, at GPS {float(position)}")
        position = start + len(samples) * interval
    return numpy.concatenate([samples for samples, _, _ in pieces]), t0, interval


class _Frames:
    def __init__(self, content: mmap.mmap) -> None:
        if content[:5] != b"IGWD\0":
            raise NoData("this is no frame file")
        self._content = content
        self._version = content[5]
        if self._version not in (6, 8):
            raise Unsupported(f"frames of version {self._version}")
        self._order = "<" if content[12:14] == b"\x34\x12" else ">"
        self._position = 0

    def series(self, wanted: Callable[[str], bool]) -> Iterator[tuple[str, Series]]:
        """The channels that are wanted, in each frame."""
        dictionary: dict[int, tuple[str, list[tuple[str, str]]]] = {1: ("FrSH", []), 2: ("FrSE", [])}
        described: list[tuple[str, str]] = []
        frame: Fields = {}
        found: list[Fields] = []
        vectors: dict[int, int] = {}
        vector: list[tuple[str, str]] = []
        position = _HEADER
        while position < len(self._content):
            length, number, instance = self._prefix(position)
            if length < _COMMON or position + length > len(self._content):
                raise ValueError(f"a structure at byte {position} has {length} bytes")
            self._position = position + _COMMON
            name, fields = dictionary[number]
            if name == "FrSH":
                title, described = self._value("STRING", {}), []
                dictionary[self._value("INT_2U", {})] = (title, described)
            elif name == "FrSE":
                described.append((self._value("STRING", {}), self._value("STRING", {})))
            elif name == "FrameH":
                frame, found, vectors = self._fields(fields), [], {}
            elif name == "FrVect":
                vectors[instance] = position + _COMMON
                vector = fields
            elif name in _SERIES and wanted(self._value("STRING", {})):
                self._position = position + _COMMON
                found.append(self._fields(fields))
            elif name == "FrEndOfFrame":
                for one in found:
                    self._position = vectors[one["data"][1]]
                    yield one["name"], self._decoded(frame, one, self._fields(vector))
            position += length

    def _prefix(self, position: int) -> tuple[int, int, int]:
        if self._version == 8:
            length, _, number, instance = struct.unpack_from(f"{self._order}QBBI", self._content, position)
        else:
            length, number, instance = struct.unpack_from(f"{self._order}QHI", self._content, position)
        return length, number, instance

    def _decoded(self, frame: Fields, series: Fields, vector: Fields) -> Series:
        if series.get("bias", 0) != 0 or series.get("slope", 1) != 1:
            raise Unsupported("counts of a converter, which have to be scaled")
        if vector["type"] not in _TYPES or vector["nDim"] != 1:
            raise Unsupported(f"vectors of type {vector['type']} with {vector['nDim']} dimensions")
        compression = vector["compress"] & 0xFF
        if compression not in (_RAW, _GZIP):
            raise Unsupported(f"vectors with compression {vector['compress']}")
        size = vector["nData"] * numpy.dtype(_TYPES[vector["type"]]).itemsize
        content = vector["data"] if compression == _RAW else _inflated(vector["data"], size)
        order = "<" if vector["compress"] & _LITTLE_ENDIAN else ">"
        if len(content) != size:
            raise ValueError(f"{len(content)} bytes of samples instead of {size}")
        samples = numpy.frombuffer(content, order + _TYPES[vector["type"]])
        start = frame["GTimeS"] + Fraction(frame["GTimeN"], 10**9) + finite(series.get("timeOffset", 0.0))
        return samples, start + finite(vector["startX"][0]), finite(vector["dx"][0])

    def _fields(self, fields: list[tuple[str, str]]) -> Fields:
        values: Fields = {}
        for name, kind in fields:
            values[name] = self._value(kind, values)
        return values

    def _value(self, kind: str, known: Fields) -> Any:
        base, *dimensions = re.split(r"[\[\]]+", kind.removesuffix("]"))
        count = 1
        for dimension in dimensions:
            count *= int(dimension) if dimension.isdecimal() else known[dimension]
        if base in ("CHAR", "CHAR_U") and dimensions:
            return self._take(count)
        values = [self._scalar(base) for _ in range(count)]
        return values if dimensions else values[0]

    def _scalar(self, kind: str) -> Any:
        if kind == "STRING":
            return self._take(self._number("H")).rstrip(b"\0").decode()
        if kind.startswith("PTR_STRUCT"):
            return self._number("H"), self._number("I")
        return self._number(_CODES[kind])

    def _number(self, code: str) -> Any:
        size = struct.calcsize("<" + code)
        return struct.unpack(self._order + code, self._take(size))[0]

    def _take(self, n: int) -> bytes:
        begin, self._position = self._position, self._position + n
        if self._position > len(self._content):
            raise ValueError("a field ends behind the file")
        return self._content[begin : self._position]


def _inflated(content: bytes, size: int) -> bytes:
    """At most one byte more than `size`, so that a small file cannot fill the memory."""
    return zlib.decompressobj().decompress(content, size + 1)
