"""Arrow IPC streams: the messages of a body, and the tables in their metadata, with every offset checked.

The format is Apache Arrow's (Columnar.rst, "Serialization and Interprocess Communication"; Schema.fbs and Message.fbs).
Its metadata are FlatBuffers: a table begins with the distance back to its vtable, which holds the distance of each
field from the table's start. Distances are never followed outside the buffer.
"""

from __future__ import annotations

import functools
import operator
import struct
from collections.abc import Iterator
from typing import NamedTuple, Protocol

_CONTINUATION = 0xFFFFFFFF
_SCHEMA, _DICTIONARY, _BATCH = 1, 2, 3
_VERSIONS = (3, 4)  # V4 and V5, which are the same here
# Tables may share what they refer to, so that a short schema could stand for a very long one.
_MAX_TEXT = 1024  # bytes of a name
_MAX_PAIRS = 16  # of metadata of a column

_U16, _I16, _I32, _U32 = (struct.Struct(f"<{code}").unpack_from for code in "HhiI")
_I64 = struct.Struct("<q").unpack_from
_HEAD = struct.Struct("<Ii").unpack

# Types by their number in Schema.fbs, for messages.
_TYPES = (
    "none", "null", "int", "float", "binary", "utf8", "bool", "decimal", "date", "time", "timestamp", "interval",
    "list", "struct", "union", "fixed_size_binary", "fixed_size_list", "map", "duration", "large_binary", "large_utf8",
    "large_list", "run_end_encoded", "binary_view", "utf8_view", "list_view", "large_list_view",
)  # fmt: skip
_INT, _FLOAT, _LIST, _LARGE_LIST = 2, 3, 12, 21
_FLOATS = {0: "float16", 1: "float32", 2: "float64"}


class ArrowError(ValueError):
    """The body is not an Arrow IPC stream of the kind that is read here; the text says why."""


class Field(NamedTuple):
    """A column: its name, its type such as `int64` or `list`, its metadata, and the type of a list's values."""

    name: str
    type: str
    metadata: dict[str, str]
    values: str = ""


class Batch(NamedTuple):
    """A record batch: rows; length and number of nulls of each node; offset in the body and length of each buffer."""

    rows: int
    nodes: tuple[int, ...]
    buffers: tuple[int, ...]
    offset: int


class Content(Protocol):
    """The bytes of a stream: in memory, or in a file of which only the parts that are asked for are read."""

    def __len__(self) -> int: ...
    def __getitem__(self, part: slice, /) -> bytes | memoryview: ...


Message = tuple[int, bytes, int, int]
"""Kind, metadata, and start and length of the body."""


def read(body: Content) -> tuple[bytes, Iterator[Message]]:
    """The schema of a stream, which `fields` reads, and its other messages, for `batches`.

    Raises:
        ArrowError: also while iterating.
    """
    messages = _messages(body)
    kind, schema, _, _ = next(messages, (0, b"", 0, 0))
    if kind != _SCHEMA:
        raise ArrowError("the stream must begin with a schema")
    return schema, messages


def batches(messages: Iterator[Message], nodes: int, buffers: int) -> Iterator[Batch]:
    """The record batches of a stream, each with so many nodes and buffers, as `layout` counts them.

    Raises:
        ArrowError: while iterating.
    """
    for kind, metadata, start, length in messages:
        if kind != _BATCH:
            raise ArrowError(
                "send no dictionaries" if kind == _DICTIONARY else f"a message of kind {kind} is in the way"
            )
        yield _batch(metadata, start, length, nodes, buffers)


def _messages(body: Content) -> Iterator[Message]:
    """The messages up to the end-of-stream marker."""
    position, end = 0, len(body)
    while True:
        if end - position < 8:
            raise ArrowError("the stream is cut short: its end marker is missing; close the writer before you send")
        mark, size = _HEAD(body[position : position + 8])
        if mark != _CONTINUATION:
            raise ArrowError(f"there is no message at byte {position}: must be an Arrow IPC stream, not a file")
        start = position + 8 + size
        if size == 0:
            if end != position + 8:
                raise ArrowError(f"{end - position - 8} bytes follow the end marker")
            return
        if size < 0 or start > end:
            raise ArrowError(f"the stream is cut short in the message at byte {position}")
        if start % 8:
            raise ArrowError(f"the message at byte {position} is not padded to 8 bytes")
        metadata = bytes(body[position + 8 : start])
        try:
            kind, length = _message(metadata)
        except (struct.error, IndexError) as error:
            raise ArrowError(f"the metadata of the message at byte {position} cannot be read") from error
        if not 0 <= length <= end - start:
            raise ArrowError(f"the stream is cut short in the message at byte {position}")
        yield kind, metadata, start, length
        position = start + length


# -- FlatBuffers ----------------------------------------------------------------------------------------------


def _field(data: bytes, table: int, number: int) -> int:
    """Position of a field's value in a table; 0 where it has its default."""
    vtable = table - _I32(data, table)[0]
    if vtable < 0:
        raise IndexError
    slot = 4 + 2 * number
    distance: int = _U16(data, vtable + slot)[0] if slot < _U16(data, vtable)[0] else 0
    return table + distance if distance else 0


def _follow(data: bytes, position: int) -> int:
    return position + int(_U32(data, position)[0])


def _table(data: bytes, table: int, number: int) -> int:
    """Position of a table in a table; 0 where there is none."""
    position = _field(data, table, number)
    return _follow(data, position) if position else 0


def _byte(data: bytes, table: int, number: int) -> int:
    position = _field(data, table, number)
    return data[position] if position else 0


def _vector(data: bytes, table: int, number: int, item: int) -> tuple[int, int]:
    """Position and length of a vector of items of `item` bytes."""
    position = _table(data, table, number)
    if not position:
        return 0, 0
    length: int = _U32(data, position)[0]
    if position + 4 + length * item > len(data):
        raise IndexError
    return position + 4, length


def _tables(data: bytes, table: int, number: int) -> list[int]:
    start, length = _vector(data, table, number, 4)
    return [_follow(data, start + 4 * i) for i in range(length)]


def _text(data: bytes, table: int, number: int) -> str:
    """A text; of a longer one than any name the beginning."""
    start, length = _vector(data, table, number, 1)
    return data[start : start + min(length, _MAX_TEXT)].decode(errors="strict" if length <= _MAX_TEXT else "replace")


# -- messages -------------------------------------------------------------------------------------------------


def _message(data: bytes) -> tuple[int, int]:
    """Kind of a message, and length of its body."""
    table = _follow(data, 0)
    version = _field(data, table, 0)
    if (_I16(data, version)[0] if version else 0) not in _VERSIONS:
        raise ArrowError("the metadata must have version 4 or 5")
    length = _field(data, table, 3)
    return _byte(data, table, 1), int(_I64(data, length)[0]) if length else 0


def fields(data: bytes, max_fields: int) -> tuple[Field, ...]:
    """The columns in a schema, `max_fields` at most.

    Raises:
        ArrowError: it cannot be read.
    """
    try:
        schema = _table(data, _follow(data, 0), 2)
        endianness = _field(data, schema, 0)
        if endianness and _I16(data, endianness)[0]:
            raise ArrowError("numbers must be little-endian")
        count = _vector(data, schema, 1, 4)[1]
        if count > max_fields:
            raise ArrowError(f"there are {count} columns: at most {max_fields} are taken")
        return tuple(_read_field(data, table) for table in _tables(data, schema, 1))
    except (struct.error, IndexError, ValueError) as error:
        if isinstance(error, ArrowError):
            raise
        raise ArrowError("the schema cannot be read") from error


def _read_field(data: bytes, table: int) -> Field:
    name = _text(data, table, 0)
    children = _vector(data, table, 5, 4)[1]
    child = _tables(data, table, 5)[0] if children == 1 else 0
    if _field(data, table, 4) or (child and _field(data, child, 4)):
        raise ArrowError(f"column {name!r} is encoded in a dictionary: send its values")
    if _vector(data, table, 6, 4)[1] > _MAX_PAIRS:
        raise ArrowError(f"column {name!r} has more than {_MAX_PAIRS} entries of metadata")
    metadata = {_text(data, pair, 0): _text(data, pair, 1) for pair in _tables(data, table, 6)}
    type = _type(data, table)
    if type not in ("list", "large_list"):
        if children:
            raise ArrowError(f"column {name!r} is {type}: must be a list of numbers")
        return Field(name, type, metadata)
    if children != 1:
        raise ArrowError(f"column {name!r} is a {type} of {children} columns: must be a list of numbers")
    values = _type(data, child)
    if _vector(data, child, 5, 4)[1]:
        raise ArrowError(f"column {name!r} is a list of {values}: must be a list of numbers")
    return Field(name, type, metadata, values)


def _type(data: bytes, table: int) -> str:
    kind = _byte(data, table, 2)
    definition = _table(data, table, 3)
    if kind == _INT:
        width = _field(data, definition, 0)
        sign = "int" if _byte(data, definition, 1) else "uint"
        return f"{sign}{_I32(data, width)[0] if width else 0}"
    if kind == _FLOAT:
        precision = _field(data, definition, 0)
        return _FLOATS.get(_I16(data, precision)[0] if precision else 0, "float")
    return _TYPES[kind] if kind < len(_TYPES) else f"type {kind}"


@functools.lru_cache(16)
def _pairs(count: int) -> struct.Struct:
    return struct.Struct(f"<{2 * count}q")


def _batch(data: bytes, start: int, length: int, node_count: int, buffer_count: int) -> Batch:
    try:
        table = _table(data, _follow(data, 0), 2)
        if _field(data, table, 3):
            raise ArrowError("the record batches are compressed: write them without compression")
        rows = _field(data, table, 0)
        nodes_at, nodes = _vector(data, table, 1, 16)
        buffers_at, buffers = _vector(data, table, 2, 16)
        if (nodes, buffers) != (node_count, buffer_count):
            raise ArrowError("a record batch has other columns than the schema")
        found = Batch(
            _I64(data, rows)[0] if rows else 0,
            _pairs(nodes).unpack_from(data, nodes_at),
            _pairs(buffers).unpack_from(data, buffers_at),
            start,
        )
    except (struct.error, IndexError) as error:
        raise ArrowError("the metadata of a record batch cannot be read") from error
    _check_buffers(found, length)
    return found


def _check_buffers(batch: Batch, length: int) -> None:
    """Check that the buffers lie in the message's body, on multiples of 8 bytes."""
    offsets, lengths = batch.buffers[::2], batch.buffers[1::2]
    if batch.rows < 0 or min(batch.nodes, default=0) < 0:
        raise ArrowError("a record batch has a negative length")
    if not offsets:
        return
    if min(offsets) < 0 or min(lengths) < 0 or max(map(operator.add, offsets, lengths)) > length:
        raise ArrowError("a buffer lies outside its record batch")
    if (batch.offset | functools.reduce(operator.or_, offsets)) % 8:
        raise ArrowError("a buffer does not begin at a multiple of 8 bytes")


def layout(fields: tuple[Field, ...]) -> tuple[int, int, list[tuple[int, int]]]:
    """How many nodes and buffers a batch has, and the numbers of the first of each column."""
    nodes = buffers = 0
    first = []
    for field in fields:
        first.append((nodes, buffers))
        nodes += 2 if field.values else 1
        buffers += 4 if field.values else 2
    return nodes, buffers, first
