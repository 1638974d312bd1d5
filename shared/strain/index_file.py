"""The index of a batch as a file, so that a start need not read the whole journal: a shortcut and never the truth.

Format: CRC-32 of the rest (4 bytes, big-endian), the length of the header (4 bytes), the header as MessagePack, then
the columns, little-endian, one after another: of the rows, and of each cohort its streams and its stated rates.
"""

from __future__ import annotations

import sys
from array import array
from collections.abc import Iterable
from fractions import Fraction

import msgspec

from shared.checksum import crc32_of
from shared.decoding import msgpack_decoder
from shared.strain.index import Cohort, StrainIndex
from shared.strain.stated_rate import StatedRate
from shared.strain.stream import ON_GRID, Stream

_FORMAT = 3
_ROWS = ("q", "q", "d", "I")
_STREAM = ("q", "q", "I", "q", "I", "I")


class _StreamHead(msgspec.Struct, array_like=True):
    hertz: float
    overlaps: int
    stretches: int
    pieces: int
    phases: dict[int, str]  # of those that are not 0, as Fraction reads them: parts of any length


class _StatedHead(msgspec.Struct, array_like=True):
    figures: list[float]
    rows: int


class _CohortHead(msgspec.Struct, array_like=True):
    detector: str
    channels: list[str]
    streams: list[_StreamHead]
    stated: list[_StatedHead]


class Head(msgspec.Struct):
    """What an index stands for.

    Attributes:
        batch: number of the batch.
        opened: CRC-32 of its journal's first line.
        count: journal entries that are indexed.
        last: number of the last one's file.
    """

    batch: int
    opened: int
    count: int
    last: int


class _Header(msgspec.Struct):
    head: Head
    rows: int
    unusable: list[int]
    cohorts: list[_CohortHead]
    order: list[int]  # of arrival: positions of the streams, as the cohorts list them
    format: int = _FORMAT


def encode(index: StrainIndex, head: Head) -> bytes:
    """The bytes of an index file."""
    columns: list[array[int] | array[float]] = list(index.columns())
    cohorts = [_cohort_head(cohort, columns) for cohort in index.cohorts]
    positions = {key: position for position, key in enumerate(index.keys())}
    order = [positions[key] for key in index.streams]
    header = msgspec.msgpack.encode(_Header(head, len(index), index.unusable, cohorts, order))
    body = b"".join([len(header).to_bytes(4), header, *map(_little_endian, columns)])
    return crc32_of(body).to_bytes(4) + body


def decode(content: bytes) -> tuple[StrainIndex, Head]:
    """The inverse of `encode`.

    Raises:
        ValueError: the file is damaged, or of another version.
    """
    view = memoryview(content)
    if content[:4] != crc32_of(view[4:]).to_bytes(4):
        raise ValueError("its checksum does not match")
    end = 8 + int.from_bytes(view[4:8])
    header = msgpack_decoder(_Header).decode(view[8:end])  # msgspec's errors are ValueErrors
    if header.format != _FORMAT:
        raise ValueError("it has the format of another version")
    columns = _Columns(view[end:])
    rows = (columns.ints("q", header.rows), columns.ints("q", header.rows), columns.floats(header.rows),
            columns.ints("I", header.rows))  # fmt: skip
    cohorts = [_cohort(columns, one) for one in header.cohorts]
    return StrainIndex.restored(rows, header.unusable, cohorts, header.order), header.head


def _cohort_head(cohort: Cohort, columns: list[array[int] | array[float]]) -> _CohortHead:
    streams, stated = [], []
    for stream in cohort.streams.values():
        own, phases = stream.columns()
        columns += own
        uneven = {i: str(phase) for i, phase in enumerate(phases) if phase}
        streams.append(_StreamHead(stream.hertz, stream.overlaps, len(own[0]), len(own[2]), uneven))
    for one in cohort.stated.values():
        columns.append(one.rows)
        stated.append(_StatedHead(one.snapshot(), len(one.rows)))
    return _CohortHead(cohort.detector, list(cohort.channels), streams, stated)


def _cohort(columns: _Columns, head: _CohortHead) -> Cohort:
    cohort = Cohort(head.detector, head.channels)
    cohort.streams = {one.hertz: _stream(columns, one) for one in head.streams}
    for one in head.stated:
        stated = StatedRate.restored(one.figures, columns.ints("I", one.rows))
        cohort.stated[stated.rate] = stated
    return cohort


def _stream(columns: _Columns, head: _StreamHead) -> Stream:
    lengths = [head.stretches] * 2 + [head.pieces] * 4
    phases: list[Fraction] = [ON_GRID] * head.stretches
    for i, phase in head.phases.items():
        phases[i] = Fraction(phase)
    own = [columns.ints(code, length) for code, length in zip(_STREAM, lengths, strict=True)]
    return Stream.restored(head.hertz, head.overlaps, own, phases)


class _Columns:
    def __init__(self, view: memoryview) -> None:
        self._view = view
        self._position = 0

    def ints(self, code: str, length: int) -> array[int]:
        column: array[int] = array(code)
        self._fill(column, length)
        return column

    def floats(self, length: int) -> array[float]:
        column = array("d")
        self._fill(column, length)
        return column

    def _fill(self, column: array[int] | array[float], length: int) -> None:
        end = self._position + length * column.itemsize
        column.frombytes(self._view[self._position : end])
        self._position = end
        if sys.byteorder == "big":
            column.byteswap()


def _little_endian(column: Iterable[float]) -> bytes:
    assert isinstance(column, array)
    if sys.byteorder == "big":
        column = array(column.typecode, column)
        column.byteswap()
    return column.tobytes()
