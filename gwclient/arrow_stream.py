"""Blocks of float64 samples as Arrow IPC streams, in the layout of Arrakis, without a library of Arrow.

The layout never changes: a column `time`, and a list column a channel, whose metadata hold the rate. So the schema is
written once a stream, the other metadata once for blocks with as many samples, and a block costs little more than
copying its samples.
"""

from __future__ import annotations

import functools
import struct
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy

MEDIA_TYPE = "application/vnd.apache.arrow.stream"
_CONTINUATION, _END = b"\xff\xff\xff\xff", b"\xff\xff\xff\xff\0\0\0\0"
# Numbers of Schema.fbs and Message.fbs of Apache Arrow.
_V5, _SCHEMA, _BATCH = 4, 1, 3
_INT, _FLOAT, _LIST = 2, 3, 12
_DOUBLE = 2

Child = Callable[[bytearray], int]
"""Writes an object of a FlatBuffer to its end, and returns the position."""

Scalar = tuple[str, int]
"""Format of `struct`, and value."""


class Column(NamedTuple):
    """The samples of a channel in a block: float64; `valid` says which are there, None if all are."""

    samples: numpy.ndarray
    valid: numpy.ndarray | None = None


class BlockWriter:
    """Writes blocks of the same channels.

    Args:
        rates: samples per second of each channel, by name, as text.
    """

    def __init__(self, rates: Mapping[str, str]) -> None:
        self._schema = _schema(tuple(rates.items()))

    def block(self, time: int, columns: Sequence[Column]) -> bytes:
        """A body with one row.

        Args:
            time: GPS time of the row's first sample, nanoseconds.
            columns: of the channels, in their order.
        """
        counts: list[tuple[int, int]] = []
        buffers: list[bytes | memoryview] = [struct.pack("<q", time)]
        for samples, valid in columns:
            n = len(samples)
            nulls = 0 if valid is None else n - int(numpy.count_nonzero(valid))
            counts.append((n, nulls))
            buffers.append(struct.pack("<ii", 0, n))
            if nulls:
                bits = numpy.packbits(valid, bitorder="little").tobytes()
                buffers.append(bits + bytes(-len(bits) % 8))
            buffers.append(numpy.ascontiguousarray(samples, "<f8").data)
        return b"".join([self._schema, _batch(tuple(counts)), *buffers, _END])


@functools.lru_cache(2)
def _schema(rates: tuple[tuple[str, str], ...]) -> bytes:
    fields = [_field("time", _int64(), nullable=0)]
    for name, rate in rates:
        item = _field("item", (_FLOAT, _table({0: ("<h", _DOUBLE)})))
        fields.append(_field(name, (_LIST, _table({})), [item], {"rate": rate}))
    return _message(_SCHEMA, _table({1: _vector(fields)}), 0)


@functools.lru_cache(2)
def _batch(counts: tuple[tuple[int, int], ...]) -> bytes:
    """The metadata of a batch: `counts` are the samples of each channel, and how many of them are null."""
    nodes, buffers, length = [1, 0], [0, 0, 0, 8], 8
    for n, nulls in counts:
        nodes += 1, 0, n, nulls
        for size in (0, 8, -(-n // 8) if nulls else 0, 8 * n):  # validity and offsets of the list, then of its samples
            buffers += length, size
            length += size + -size % 8
    return _message(_BATCH, _table({0: ("<q", 1), 1: _structs(nodes), 2: _structs(buffers)}), length)


def _message(kind: int, header: Child, length: int) -> bytes:
    out = bytearray(8)
    root = _table({0: ("<h", _V5), 1: ("<B", kind), 2: header, 3: ("<q", length)})(out)
    struct.pack_into("<I", out, 0, root)
    out += bytes(-len(out) % 8)
    return _CONTINUATION + struct.pack("<i", len(out)) + bytes(out)


def _field(
    name: str,
    type: tuple[int, Child],
    children: Sequence[Child] = (),
    metadata: Mapping[str, str] | None = None,
    nullable: int = 1,
) -> Child:
    pairs = [_table({0: _string(key), 1: _string(value)}) for key, value in (metadata or {}).items()]
    fields: dict[int, Scalar | Child] = {
        0: _string(name), 1: ("<B", nullable), 2: ("<B", type[0]), 3: type[1], 5: _vector(children),
    }  # fmt: skip
    return _table({**fields, 6: _vector(pairs)} if pairs else fields)


def _int64() -> tuple[int, Child]:
    return _INT, _table({0: ("<i", 64), 1: ("<B", 1)})


# -- FlatBuffers: an object is followed by those that it refers to ------------------------------------------------


def _table(fields: Mapping[int, Scalar | Child]) -> Child:
    def write(out: bytearray) -> int:
        sizes = {slot: 4 if callable(value) else struct.calcsize(value[0]) for slot, value in fields.items()}
        places, end = {}, 4  # behind the distance to the vtable
        for slot in sorted(fields, key=lambda slot: -sizes[slot]):
            end += -end % sizes[slot]
            places[slot] = end
            end += sizes[slot]
        slots = max(fields, default=-1) + 1
        vtable = struct.pack(f"<{2 + slots}H", 4 + 2 * slots, end, *(places.get(slot, 0) for slot in range(slots)))
        out += bytes(-(len(out) + len(vtable)) % 8) + vtable
        start = len(out)
        out += struct.pack("<i", len(vtable)) + bytes(end - 4)
        for slot, value in fields.items():
            position = start + places[slot]
            if callable(value):
                _refer(out, position, value)
            else:
                struct.pack_into(value[0], out, position, value[1])
        return start

    return write


def _vector(items: Sequence[Child]) -> Child:
    def write(out: bytearray) -> int:
        out += bytes(-len(out) % 4)
        start = len(out)
        out += struct.pack("<I", len(items)) + bytes(4 * len(items))
        for number, item in enumerate(items):
            _refer(out, start + 4 + 4 * number, item)
        return start

    return write


def _structs(numbers: Sequence[int]) -> Child:
    """A vector of pairs of 64-bit numbers."""

    def write(out: bytearray) -> int:
        out += bytes((4 - len(out)) % 8)  # so that the numbers are aligned
        start = len(out)
        out += struct.pack(f"<I{len(numbers)}q", len(numbers) // 2, *numbers)
        return start

    return write


def _string(text: str) -> Child:
    def write(out: bytearray) -> int:
        out += bytes(-len(out) % 4)
        start, content = len(out), text.encode()
        out += struct.pack("<I", len(content)) + content + b"\0"
        return start

    return write


def _refer(out: bytearray, position: int, child: Child) -> None:
    struct.pack_into("<I", out, position, child(out) - position)
