"""Blocks in Arrow's IPC stream format, in the layout of Arrakis: a column `time` in nanoseconds of GPS, and a column of
lists for each channel, whose metadata hold `rate` in Hz. A row is an interval; nulls are gaps.
"""

from __future__ import annotations

import functools
import math
import re
import struct
import sys
from array import array
from collections.abc import Iterator
from typing import NamedTuple

from shared.domain import arrow_stream
from shared.domain.arrow_stream import ArrowError, Batch, Content, Field
from shared.domain.runs import Runs
from shared.domain.sampling import GRID_TOLERANCE, MAX_GPS, MAX_INTERVAL, MAX_NAME, detector_of
from shared.errors import BadSegment

TIME = "time"
MAX_RATE = float(1 << 22)  # Hz: doubles tell GPS times of this century apart by that much
_NS = 1_000_000_000
_MAX_CACHED = 1 << 21  # bytes of a schema that is kept for the next block
_MAX_LISTS = 1 << 18  # a list is a channel in a row; more of them are better sent as longer rows
_CODES = {
    "float32": "f", "float64": "d", "int8": "b", "int16": "h", "int32": "i", "int64": "q",
    "uint8": "B", "uint16": "H", "uint32": "I", "uint64": "Q",
}  # fmt: skip
_VALID = re.compile("1+")


class _Column(NamedTuple):
    name: str
    detector: str
    rate: float
    code: str  # of its values, as in `array`
    size: int  # of a value, bytes
    offsets: str  # code of the offsets of its lists
    node: int
    buffer: int


class _Layout(NamedTuple):
    nodes: int
    buffers: int
    time: tuple[int, int]
    columns: dict[tuple[str, str], _Column]  # by detector and name


class _Piece(NamedTuple):
    """`n` samples of a row that begins at `time` (ns), from its number `skip` on, and their position in the body."""

    time: int
    skip: int
    n: int
    position: int


class _Run(NamedTuple):
    time: int
    skip: int
    n: int
    pieces: list[_Piece]


def parse(body: bytes, max_channels: int) -> tuple[Runs, ...]:
    """Read and check a block: the runs in it.

    Args:
        body: the stream.
        max_channels: the most runs, and columns, that it may have.

    Raises:
        BadSegment: the text says what is wrong with which channel.
    """
    try:
        layout, batches = _read(body, max_channels)
        return _Checker(body, layout, max_channels).check(batches)
    except ArrowError as error:
        raise BadSegment(str(error)) from None


class Stored:
    """A stored block of which runs are read: its metadata once, and a channel's gaps once for all its runs.

    Args:
        body: the stream; of columns that are not asked for nothing is read.

    Raises, also when read:
        BadSegment: the block is none.
    """

    def __init__(self, body: Content) -> None:
        self._body = body
        try:
            self._layout, batches = _read(body, sys.maxsize)
            self._batches = [(batch, _times(body, self._layout, batch)) for batch in batches if batch.rows]
        except ArrowError as error:
            raise BadSegment(str(error)) from None
        self._column: _Column | None = None
        self._runs: dict[float, _Run] = {}  # of the column

    def values(self, detector: str, channel: str, t0: float) -> array[float] | array[int]:
        """The values of a run, in their own type.

        Raises:
            BadSegment: the block has no such run.
        """
        column = self._layout.columns.get((detector, channel))
        if column is None:
            raise BadSegment(f"the block does not hold {channel}")
        if column is not self._column:
            try:
                self._runs = {_seconds(run.time, run.skip, column.rate): run for run in self._runs_of(column)}
            except ArrowError as error:
                raise BadSegment(str(error)) from None
            self._column = column
        run = self._runs.get(t0)
        if run is None:
            raise BadSegment(f"the block holds no run of {channel} that begins at {t0}")
        return _decode(self._body, column, run.pieces)

    def _runs_of(self, column: _Column) -> Iterator[_Run]:
        pieces = (
            piece for batch, times in self._batches for piece in _pieces(self._body, self._layout, column, batch, times)
        )
        return _join(column, pieces)


def values(body: Content, detector: str, channel: str, t0: float) -> array[float] | array[int]:
    """The values of a run in a stored block; as `Stored.values`."""
    return Stored(body).values(detector, channel, t0)


def _decode(body: Content, column: _Column, pieces: list[_Piece]) -> array[float] | array[int]:
    found: array[float] | array[int] = array(column.code)
    for piece in pieces:
        found.frombytes(body[piece.position : piece.position + piece.n * column.size])
    if sys.byteorder == "big":
        found.byteswap()
    return found


# -- columns --------------------------------------------------------------------------------------------------


def _read(body: Content, max_channels: int) -> tuple[_Layout, Iterator[Batch]]:
    schema, messages = arrow_stream.read(body)
    layout = (_layout if len(schema) <= _MAX_CACHED else _layout.__wrapped__)(schema, max_channels + 1)
    return layout, arrow_stream.batches(messages, layout.nodes, layout.buffers)


@functools.lru_cache(4)  # because a client's blocks have one schema
def _layout(schema: bytes, max_fields: int) -> _Layout:
    fields = arrow_stream.fields(schema, max_fields)
    nodes, buffers, first = arrow_stream.layout(fields)
    time: tuple[int, int] | None = None
    columns: dict[str, _Column] = {}
    for field, (node, buffer) in zip(fields, first, strict=True):
        if field.name == TIME:
            if time is not None:
                raise ArrowError("column 'time' stands twice")
            if field.type != "int64":
                raise ArrowError(f"column 'time' is {field.type}: must be int64, nanoseconds of GPS")
            time = node, buffer
        elif field.name in columns:
            raise ArrowError(f"column {field.name!r} stands twice")
        else:
            columns[field.name] = _column(field, node, buffer)
    if time is None:
        raise ArrowError("there is no column 'time': int64, nanoseconds of GPS")
    return _Layout(nodes, buffers, time, {(column.detector, column.name): column for column in columns.values()})


def _column(field: Field, node: int, buffer: int) -> _Column:
    name = field.name
    if not 0 < len(name) <= MAX_NAME:
        raise ArrowError(f"column {name[:40]!r}: the name of a channel has 1 to {MAX_NAME} characters")
    try:
        detector = detector_of("", name)
    except ValueError as error:
        raise ArrowError(str(error)) from None
    if field.values not in _CODES:
        found = f"{field.type} of {field.values}" if field.values else field.type
        raise ArrowError(f"column {name!r} is {found}: must be a list of float32, float64 or integers")
    if "rate" not in field.metadata:
        raise ArrowError(f"column {name!r} has no `rate`: put its sampling rate in Hz in the field's metadata")
    try:
        rate = float(field.metadata["rate"])
    except ValueError:
        rate = math.nan
    if not 1 / MAX_INTERVAL <= rate <= MAX_RATE:
        text = field.metadata["rate"][:40]
        raise ArrowError(
            f"column {name!r} has the rate {text!r}: must be a number of Hz, from {1 / MAX_INTERVAL} to {MAX_RATE:.0f}"
        )
    code = _CODES[field.values]
    return _Column(
        name, detector, rate, code, array(code).itemsize, "q" if field.type == "large_list" else "i", node, buffer
    )


# -- rows -----------------------------------------------------------------------------------------------------


def _buffer(batch: Batch, number: int, length: int, column: str) -> int:
    """Position in the body of a buffer that must hold `length` bytes."""
    if batch.buffers[2 * number + 1] < length:
        raise ArrowError(f"column {column!r}: a buffer of {batch.buffers[2 * number + 1]} bytes must have {length}")
    return batch.offset + batch.buffers[2 * number]


def _times(body: Content, layout: _Layout, batch: Batch) -> tuple[int, ...]:
    node, buffer = layout.time
    rows, nulls = batch.nodes[2 * node : 2 * node + 2]
    if nulls or rows != batch.rows:
        raise ArrowError(
            f"column 'time' has {rows} values and {nulls} nulls: must have one value for each of {batch.rows} rows"
        )
    position = _buffer(batch, buffer + 1, 8 * rows, TIME)
    times: tuple[int, ...] = struct.unpack(f"<{rows}q", body[position : position + 8 * rows])
    return times


def _pieces(body: Content, layout: _Layout, column: _Column, batch: Batch, times: tuple[int, ...]) -> Iterator[_Piece]:
    """The samples of a column in a batch, without the gaps."""
    node, buffer, name = 2 * column.node, column.buffer, column.name
    rows, null_lists, items, nulls = batch.nodes[node : node + 4]
    if rows != batch.rows:
        raise ArrowError(f"column {name!r} has {rows} rows, the batch {batch.rows}")
    if not rows:
        return
    length = (8 if column.offsets == "q" else 4) * (rows + 1)
    offsets_at = _buffer(batch, buffer + 1, length, name)
    values_at = _buffer(batch, buffer + 3, items * column.size, name)
    offsets = struct.unpack(f"<{rows + 1}{column.offsets}", body[offsets_at : offsets_at + length])
    lists = _validity(body, batch, buffer, rows, null_lists, column=name)
    valid = _validity(body, batch, buffer + 2, items, nulls, column=name)
    begin = offsets[0]
    for row, time in enumerate(times):
        end = offsets[row + 1]
        if not 0 <= begin <= end <= items:
            raise ArrowError(f"column {name!r}: the list in row {row} does not lie in its {items} values")
        if end > begin and (not lists or lists[row] == "1"):
            if not valid:
                yield _Piece(time, 0, end - begin, values_at + begin * column.size)
            else:
                for match in _VALID.finditer(valid, begin, end):
                    first = match.start()
                    yield _Piece(time, first - begin, match.end() - first, values_at + first * column.size)
        begin = end


def _validity(body: Content, batch: Batch, number: int, length: int, nulls: int, *, column: str) -> str:
    """A digit for each value, 1 where it is valid; empty where all are."""
    if not nulls:
        return ""
    position = _buffer(batch, number, (length + 7) // 8, column)
    bits = int.from_bytes(body[position : position + (length + 7) // 8], "little") & (1 << length) - 1
    if length - bits.bit_count() != nulls:
        raise ArrowError(f"column {column!r} has {length - bits.bit_count()} nulls and says {nulls}")
    return f"{bits:0{length}b}"[::-1]


def _join(column: _Column, pieces: Iterator[_Piece]) -> Iterator[_Run]:
    """Runs: pieces that follow one another without a gap, to a quarter of a sample."""
    run: _Run | None = None
    for piece in pieces:
        if run is not None:
            late = (piece.time - run.time) * column.rate / _NS + piece.skip - run.skip - run.n  # samples
            if late < -GRID_TOLERANCE:
                text = _seconds(piece.time, piece.skip, column.rate)
                raise ArrowError(
                    f"column {column.name!r}: the samples at GPS {text!r} overlap those before; order rows by time"
                )
            if late <= GRID_TOLERANCE:
                run.pieces.append(piece)
                run = run._replace(n=run.n + piece.n)
                continue
            yield run
        run = _Run(piece.time, piece.skip, piece.n, [piece])
    if run is not None:
        yield run


def _seconds(time: int, skip: int, rate: float) -> float:
    """GPS time of a sample, rounded once to a double."""
    if not skip:
        return time / _NS
    seconds, rest = divmod(time, _NS)
    return seconds + (rest / _NS + skip / rate)


# -- checks ---------------------------------------------------------------------------------------------------


class _Checker:
    """Checks the samples of a block, and collects its runs."""

    def __init__(self, body: bytes, layout: _Layout, max_runs: int) -> None:
        self._body = body
        self._layout = layout
        self._max_runs = max_runs
        self._pieces: list[list[_Piece]] = [[] for _ in layout.columns]
        self._lists = self._bytes = self._count = 0
        self._last = -1  # time of the row before, ns

    def check(self, batches: Iterator[Batch]) -> tuple[Runs, ...]:
        """The runs of the block; errors as `parse`."""
        for batch in batches:
            self._add(batch)
        groups: dict[tuple[str, float, float, int], list[str]] = {}
        count = 0
        for column, pieces in zip(self._layout.columns.values(), self._pieces, strict=True):
            for run in pieces if len(pieces) == 1 else _join(column, iter(pieces)):
                t0 = _seconds(run.time, run.skip, column.rate)
                if t0 + run.n / column.rate >= MAX_GPS:
                    raise ArrowError(f"column {column.name!r} ends after GPS {MAX_GPS:.0f}")
                groups.setdefault((column.detector, t0, 1 / column.rate, run.n), []).append(column.name)
                count += 1
            if count > self._max_runs:
                raise ArrowError(
                    f"there are more than {self._max_runs} channels, counted once more for each gap; send less at once"
                )
        if not groups:
            raise ArrowError("there is no sample in the block")
        return tuple(Runs(*key, tuple(channels)) for key, channels in groups.items())

    def _add(self, batch: Batch) -> None:
        times = _times(self._body, self._layout, batch)
        for time in times:
            if not 0 <= time < MAX_GPS * _NS:
                raise ArrowError(f"a row is at {time} ns: must be GPS time in nanoseconds, from 0 to {MAX_GPS:.0f} s")
            if time <= self._last:
                raise ArrowError(f"a row at {time} ns follows one at {self._last} ns: order rows by time")
            self._last = time
        self._lists += batch.rows * len(self._layout.columns)
        if self._lists > _MAX_LISTS:
            raise ArrowError(f"there are more than {_MAX_LISTS} lists: send longer ones, or fewer channels at once")
        for column, pieces in zip(self._layout.columns.values(), self._pieces, strict=True):
            for piece in _pieces(self._body, self._layout, column, batch, times):
                pieces.append(piece)
                self._bytes += piece.n * column.size
                self._count += 1
                if self._count > self._max_runs + self._lists:  # because two pieces of a list are two runs
                    raise ArrowError(f"column {column.name!r} has too many gaps; send less at once")
                if column.code in "fd":
                    self._check_finite(column, piece)
            if self._bytes > len(self._body):
                raise ArrowError(f"column {column.name!r} shares its values with another column")

    @functools.cached_property
    def _tops4(self) -> bytes:
        """The highest byte of each 4."""
        return self._body[3::4]

    @functools.cached_property
    def _tops8(self) -> bytes:
        """The highest byte of each 8."""
        return self._body[7::8]

    def _check_finite(self, column: _Column, piece: _Piece) -> None:
        """Check that samples are finite. The highest byte tells at once, unless a sample is near the largest number."""
        tops = self._tops8 if column.size == 8 else self._tops4
        first = piece.position // column.size
        if tops.find(b"\x7f", first, first + piece.n) < 0 and tops.find(b"\xff", first, first + piece.n) < 0:
            return
        for number, sample in enumerate(_decode(self._body, column, [piece])):
            if not math.isfinite(sample):
                raise ArrowError(
                    f"column {column.name!r}: sample {piece.skip + number} of the row at GPS {piece.time / _NS!r} is "
                    f"{sample}: must be finite; mark missing samples as null"
                )
