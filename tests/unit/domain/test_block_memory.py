"""Blocks that cannot be stored take little more memory than their bytes before they are refused."""

from __future__ import annotations

import io
import struct
import tracemalloc

import numpy
import pyarrow as pa
import pytest

from shared.domain import arrow_block, block, line_block  # noqa: F401 - imported before memory is measured
from shared.domain.block import ARROW, LIST, NDJSON
from shared.errors import BadSegment
from tests.support.blocks import T0, field, stream
from tests.support.blocks import arrow_block as a_block

MARK = b"\xff\xff\xff\xff"  # of each message


def gaps(columns: int, samples: int) -> bytes:
    """A body in which every second sample is missing."""
    number = numpy.arange(samples)
    values = pa.array(number % 100, pa.int8(), mask=number % 2 == 0)
    column = pa.ListArray.from_arrays(pa.array([0, samples], pa.int32()), values)
    schema = pa.schema([pa.field("time", pa.int64()), *(field(f"V1:{i}", pa.int8()) for i in range(columns))])
    sink = io.BytesIO()
    with pa.ipc.new_stream(sink, schema) as writer:
        writer.write_batch(pa.record_batch([pa.array([T0 * 10**9]), *[column] * columns], schema=schema))
    return sink.getvalue()


def of_many_columns_after_a_schema_of_one() -> bytes:
    schema = a_block(1, 1).split(MARK)[1]
    names = [field(f"V1:{i}") for i in range(5000)]
    many = stream(names, [[T0 * 10**9, *[[]] * len(names)]])
    return MARK + schema + many[many.index(MARK, 4) :]


@pytest.mark.parametrize(
    ("format", "body", "words", "most"),
    [
        (ARROW, gaps(50, 4000), "too many gaps", 10),
        (ARROW, of_many_columns_after_a_schema_of_one(), "other columns", 2),
        (NDJSON, b"\n" * (1 << 19), "no segment", 1),
        (NDJSON, b" \n" * (1 << 18), "no segment", 1),
        (LIST, b"[" + b"0," * (1 << 18) + b"0]", "Expected `object`", 1),
        (LIST, b"[" + b"{}," * (1 << 17) + b"{}]", "more than 2000", 10),
    ],
    ids=["gaps", "columns", "lines", "spaces", "numbers", "objects"],
)
def test_what_is_refused_takes_little_memory(format, body, words, most):
    assert taken_to_refuse(format, body, words) < most * len(body)


def test_a_schema_with_a_count_that_lies_takes_little_memory():
    """Each 1 becomes a count that fills the schema. One of them counts the columns in a list, which has one."""
    body, more = a_block(1, 1), 1 << 17
    schema = body.split(MARK)[1][4:]
    reasons: set[str] = set()
    for at in range(0, len(schema), 4):
        if schema[at : at + 4] == b"\1\0\0\0":
            lie = schema[:at] + struct.pack("<I", more // 4) + schema[at + 4 :] + bytes(more)
            assert taken_to_refuse(ARROW, MARK + struct.pack("<I", len(lie)) + lie, ".", reasons) < 2 * more
    assert any(f"a list of {more // 4} columns" in reason for reason in reasons)


def taken_to_refuse(format: str, body: bytes, words: str, reasons: set[str] | None = None) -> int:
    """The most bytes that were in use until a body was refused with these words."""
    tracemalloc.start()
    try:
        with pytest.raises(BadSegment, match=words) as error:
            block.parse(body, format, 2000, 1000)
        if reasons is not None:
            reasons.add(str(error.value))
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
