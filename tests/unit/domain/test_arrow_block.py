"""Blocks in Arrow: what pyarrow and Arrakis write is read to the bit, and anything else is refused with a reason."""

from __future__ import annotations

import io
import math
import struct
from itertools import pairwise

import numpy
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.domain import arrow_block
from shared.domain.runs import Runs
from shared.errors import BadSegment
from tests.support.blocks import NS, T0, arrakis_block, field, stream
from tests.support.blocks import arrow_block as a_block

MANY = 10_000
INTEGERS = [pa.int8(), pa.int16(), pa.int32(), pa.int64(), pa.uint8(), pa.uint16(), pa.uint32(), pa.uint64()]
TYPES = [pa.float32(), pa.float64(), *INTEGERS]


def parse(body, most=MANY):
    return arrow_block.parse(body, most)


def refused(body, *words, most=MANY):
    with pytest.raises(BadSegment) as error:
        parse(body, most)
    for word in words:
        assert word in str(error.value), error.value


def samples_of(type: pa.DataType):
    if pa.types.is_floating(type):
        return st.floats(allow_nan=False, allow_infinity=False, width=type.bit_width)
    low = 0 if pa.types.is_unsigned_integer(type) else -(2 ** (type.bit_width - 1))
    return st.integers(low, low + 2**type.bit_width - 1)


@st.composite
def blocks(draw):
    """Fields, and rows of consecutive intervals of a second with nulls anywhere."""
    count = draw(st.integers(1, 4))
    rows = draw(st.integers(1, 3))
    fields, columns = [], []
    for i in range(count):
        type, rate = draw(st.sampled_from(TYPES)), draw(st.sampled_from([1, 2, 5, 16]))
        wide = draw(st.booleans())
        fields.append(pa.field(f"V1:CH_{i}", (pa.large_list if wide else pa.list_)(type), metadata={"rate": str(rate)}))
        sample = st.none() | samples_of(type)
        lists: st.SearchStrategy = st.none() | st.just([]) | st.lists(sample, min_size=rate, max_size=rate)
        columns.append(draw(st.lists(lists, min_size=rows, max_size=rows)))
    times = [(T0 + row) * NS for row in range(rows)]
    return fields, list(zip(times, *columns, strict=True)), draw(st.integers(1, 3))


@settings(max_examples=300, deadline=None)
@given(blocks())
def test_what_pyarrow_writes_is_read_to_the_bit(block):
    fields, rows, per_batch = block
    body = stream(fields, rows, per_batch)
    expected = {}
    for number, one in enumerate(fields, 1):
        rate = int(one.metadata[b"rate"])
        slots = {}
        for row in rows:
            for i, value in enumerate(row[number] or []):
                if value is not None:
                    slots[(row[0] // NS) * rate + i] = value
        expected[one.name] = rate, slots
    if not any(slots for _, slots in expected.values()):
        refused(body, "no sample")
        return
    found: dict[str, dict] = {name: {} for name in expected}
    for runs in parse(body):
        for name in runs.channels:
            rate = expected[name][0]
            values = arrow_block.values(body, "V1", name, runs.t0)
            assert len(values) == runs.n
            assert runs.dt == 1 / rate
            found[name].update({round(runs.t0 * rate) + i: value for i, value in enumerate(values)})
            # A run ends where the next sample is missing.
            assert round(runs.t0 * rate) + runs.n not in expected[name][1]
            assert round(runs.t0 * rate) - 1 not in expected[name][1]
    for name, (_, slots) in expected.items():
        assert found[name].keys() == slots.keys()
        for slot, value in slots.items():
            assert struct.pack("d", found[name][slot]) == struct.pack("d", value)


def test_the_blocks_of_arrakis_are_taken_as_its_own_classes_write_them():
    body, sent = arrakis_block()
    runs = {(name, r.t0): r.n for r in parse(body) for name in r.channels}
    assert runs == {
        ("V1:Hrec_hoft", T0): 3 * 16384,
        ("V1:ENV_CEB", T0): 48,
        ("V1:LSC_DARM", T0): 512 + 10,
        ("V1:LSC_DARM", T0 + 1 + 20 / 512): 1024 - 20,
    }
    assert numpy.array_equal(arrow_block.values(body, "V1", "V1:Hrec_hoft", T0), sent["V1:Hrec_hoft"])


def test_channels_with_the_same_times_share_an_entry():
    assert parse(a_block(3, 100)) == (Runs("V1", T0, 1 / 4096, 100, ("V1:CH_0", "V1:CH_1", "V1:CH_2")),)


def test_rows_that_follow_one_another_to_a_quarter_of_a_sample_are_one_run():
    third = 10 * NS // 3  # 3 Hz: the time of no sample but each third is a whole number of nanoseconds
    rows = [(T0 * NS + k * third, [0.5] * 10) for k in range(50)]
    assert [(r.t0, r.n) for r in parse(stream([field("V1:x", rate=3)], rows))] == [(T0, 500)]
    late = [(T0 * NS + k * (third + NS // 30), [0.5] * 10) for k in range(50)]  # a tenth of a sample each
    assert [r.n for r in parse(stream([field("V1:x", rate=3)], late))] == [30] * 16 + [20]


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("type", [pa.float32(), pa.float64()])
@pytest.mark.parametrize("position", [0, 1, 2, 3, 150, 298, 299])
def test_a_sample_that_is_not_finite_is_named(type, bad, position):
    good, wrong = [1e-21] * 300, [1e-21] * 300
    wrong[position] = bad
    fields = [field("V1:a", type), field("V1:b", type), field("V1:c", type)]
    refused(stream(fields, [[T0 * NS, good, wrong, good]]), "V1:b", f"sample {position} ", str(bad), "null")


def test_the_largest_numbers_are_finite():
    largest = numpy.finfo(numpy.float64).max
    assert parse(stream([field("V1:x")], [[T0 * NS, [largest, -largest, 5e-324, -0.0]]]))
    single = float(numpy.finfo(numpy.float32).max)
    assert parse(stream([field("V1:x", pa.float32())], [[T0 * NS, [single, -single, 1e-45]]]))


def test_a_null_may_hide_what_is_not_finite():
    values = pa.array([1.0, math.nan, 3.0], mask=numpy.array([False, True, False]))
    lists = pa.ListArray.from_arrays(pa.array([0, 3], pa.int32()), values)
    schema = pa.schema([pa.field("time", pa.int64()), pa.field("V1:x", lists.type, metadata={"rate": "4"})])
    sink = io.BytesIO()
    with pa.ipc.new_stream(sink, schema) as writer:
        writer.write_batch(pa.record_batch([pa.array([T0 * NS]), lists], schema=schema))
    assert [(r.t0, r.n) for r in parse(sink.getvalue())] == [(T0, 1), (T0 + 0.5, 1)]


ROW = [T0 * NS, [1.0, 2.0]]
BAD = {
    "no time": (lambda: _table({"V1:x": pa.array([[1.0]])}, {"V1:x": "1"}), "`?no column 'time'"),
    "time as a double": (lambda: _table({"time": pa.array([1.0]), "V1:x": pa.array([[1.0]])}, {"V1:x": "1"}), "int64"),
    "a missing time": (lambda: stream([field("V1:x")], [[None, [1.0]]]), "nulls"),
    "time before 1980": (lambda: stream([field("V1:x")], [[-1, [1.0]]]), "GPS"),
    "time as Unix nanoseconds since 1900": (lambda: stream([field("V1:x")], [[2**31 * NS, [1.0]]]), "GPS"),
    "an end beyond GPS": (lambda: stream([field("V1:x", rate=1)], [[(2**31 - 1) * NS, [1.0, 2.0]]]), "V1:x"),
    "no rate": (lambda: _table({"time": pa.array([T0 * NS]), "V1:x": pa.array([[1.0]])}, {}), "rate"),
    "a rate of zero": (lambda: stream([field("V1:x", rate=0)], [ROW]), "rate"),
    "a negative rate": (lambda: stream([field("V1:x", rate=-1)], [ROW]), "rate"),
    "a rate that is no number": (lambda: stream([field("V1:x", rate="fast")], [ROW]), "fast"),
    "a rate that is not finite": (lambda: stream([field("V1:x", rate="inf")], [ROW]), "inf"),
    "a rate that is nan": (lambda: stream([field("V1:x", rate="nan")], [ROW]), "nan"),
    "a rate beyond any clock": (lambda: stream([field("V1:x", rate="1e9")], [ROW]), "1e9"),
    "a name with a space": (lambda: stream([field("V1: x")], [ROW]), "V1: x"),
    "an empty name": (lambda: stream([field("")], [ROW]), "characters"),
    "a name too long": (lambda: stream([field("V1:" + "x" * 300)], [ROW]), "256 characters"),
    "a column twice": (lambda: stream([field("V1:x"), field("V1:x")], [[*ROW, [1.0]]]), "twice"),
    "numbers without a list": (
        lambda: _table({"time": pa.array([T0 * NS]), "V1:x": pa.array([1.0])}, {"V1:x": "1"}),
        "must be a list",
    ),
    "a list of lists": (
        lambda: _table({"time": pa.array([T0 * NS]), "V1:x": pa.array([[[1.0]]])}, {"V1:x": "1"}),
        "must be a list of numbers",
    ),
    "half precision": (lambda: stream([field("V1:x", pa.float16())], [[T0 * NS, numpy.ones(2, "f2")]]), "float16"),
    "text": (lambda: stream([field("V1:x", pa.utf8())], [[T0 * NS, ["a"]]]), "utf8"),
    "a dictionary": (
        lambda: _table(
            {"time": pa.array([T0 * NS]), "V1:x": pa.array(["a"]).dictionary_encode()}, {"V1:x": "1"}
        ),
        "dictionary",
    ),
    "a dictionary in a list": (
        lambda: _table(
            {
                "time": pa.array([T0 * NS]),
                "V1:x": pa.ListArray.from_arrays([0, 1], pa.array(["a"]).dictionary_encode()),
            },
            {"V1:x": "1"},
        ),
        "dictionary",
    ),
    "compressed": (lambda: _table(_columns(), {"V1:x": "4"}, compression="lz4"), "compress"),
    "rows that overlap": (
        lambda: stream([field("V1:x", rate=2)], [ROW, [T0 * NS + 400_000_000, [1.0]]]),
        "overlap",
    ),
    "rows in the wrong order": (lambda: stream([field("V1:x", rate=4)], [ROW, [(T0 - 1) * NS, [1.0]]]), "order rows"),
    "no row": (lambda: stream([field("V1:x")], []), "no sample"),
    "empty lists": (lambda: stream([field("V1:x")], [[T0 * NS, []]]), "no sample"),
    "no channel": (lambda: stream([], [[T0 * NS]]), "no sample"),
    "a file": (lambda: _file(), "not a file"),
    "JSON": (lambda: b'{"h":[1,2],"t":[0,1]}', "Arrow IPC stream"),
    "nothing": (lambda: b"", "cut short"),
    "an end and nothing else": (lambda: b"\xff\xff\xff\xff\0\0\0\0", "begin with a schema"),
    "more behind the end": (lambda: stream([field("V1:x")], [ROW]) + b"\0", "follow the end"),
}  # fmt: skip


def _columns() -> dict:
    return {"time": pa.array([T0 * NS]), "V1:x": pa.array([[1.0] * 4000])}


def _table(columns: dict, rates: dict, **options: object) -> bytes:
    schema = pa.schema(
        [
            pa.field(name, array.type, metadata={"rate": rates[name]} if name in rates else None)
            for name, array in columns.items()
        ]
    )
    sink = io.BytesIO()
    with pa.ipc.new_stream(sink, schema, options=pa.ipc.IpcWriteOptions(**options)) as writer:
        writer.write_batch(pa.record_batch(list(columns.values()), schema=schema))
    return sink.getvalue()


def _file() -> bytes:
    schema = pa.schema([pa.field("time", pa.int64()), field("V1:x")])
    sink = io.BytesIO()
    with pa.ipc.new_file(sink, schema) as writer:
        writer.write_batch(pa.record_batch([pa.array([T0 * NS]), pa.array([[1.0]])], schema=schema))
    return sink.getvalue()


@pytest.mark.parametrize("name", BAD)
def test_a_block_that_cannot_be_stored_is_refused_with_the_reason(name):
    make, words = BAD[name]
    refused(make(), words.lstrip("`?"))


def test_a_stream_cut_anywhere_is_refused():
    body = a_block(2, 10)
    for length in range(len(body)):
        refused(body[:length])


def test_more_channels_than_taken_are_refused_before_their_names_are_read():
    refused(a_block(11, 1), "at most 10", most=9)
    assert parse(a_block(9, 1), 9)


def test_gaps_count_like_channels():
    every_other = [[T0 * NS, [1.0, None] * 20]]
    refused(stream([field("V1:x")], every_other), "gap", most=10)
    assert len(parse(stream([field("V1:x")], every_other), 20)) == 20


def metadata_of(body: bytes) -> list[range]:
    """Where the metadata of each message lies."""
    found: list[range] = []
    reader = pa.BufferReader(body)
    while True:
        begin = reader.tell()
        size = struct.unpack_from("<i", body, begin + 4)[0]
        if not size:
            return found
        found.append(range(begin + 8, begin + 8 + size))
        pa.ipc.read_message(reader)


def test_metadata_that_lie_are_refused_or_do_not_matter():
    """Each number of the metadata is replaced by ones that do not fit: offsets, lengths, counts, types."""
    body = stream([field("V1:x"), field("V1:y", pa.float32())], [[T0 * NS, [1.0, None, 2.0], [1.0, 2.0, 3.0]]])
    reasons = set()
    for place in metadata_of(body):
        for at in range(place.start, place.stop, 2):
            for lie in (b"\xff" * 8, b"\xff" * 7 + b"\x7f", b"\0" * 8, b"\x01\0", b"\xff\x7f\0\0", b"\0\0\0\x80"):
                changed = body[:at] + lie + body[at + len(lie) :]
                try:
                    held = parse(changed)
                except BadSegment as error:
                    reasons.add(str(error))
                    continue
                for runs in held:
                    for name in runs.channels:
                        values = arrow_block.values(changed, runs.detector, name, runs.t0)
                        assert len(values) == runs.n
                        assert all(map(math.isfinite, values))
    assert len(reasons) > 20
    assert any("little-endian" in reason for reason in reasons)
    assert any("outside" in reason for reason in reasons)
    assert any("compress" in reason for reason in reasons)


def test_columns_that_share_their_values_are_refused():
    """Else a short body could stand for any number of samples."""
    body = stream([field(f"V1:{i}") for i in range(8)], [[T0 * NS, *([[1.0] * 100] * 8)]])
    batch = metadata_of(body)[1]
    numbers = list(struct.unpack_from(f"<{len(batch) // 8}q", body, batch.start))
    values = [i for i, length in enumerate(numbers[1:]) if length == 800]
    lists = [i - 4 for i in values]  # the offsets of the lists; between the two is the validity of the values
    assert len(values) == 8
    for each in (values, lists):
        for i in each:
            numbers[i] = numbers[each[0]]
    needed = numbers[values[0]] + 800
    numbers[numbers.index(len(body) - 8 - batch.stop)] = needed
    numbers = [0 if n > needed and n < len(body) else n for n in numbers]  # of empty buffers
    shared = body[: batch.start] + struct.pack(f"<{len(numbers)}q", *numbers)
    shared += body[len(shared) : batch.stop] + body[batch.stop :][:needed] + body[-8:]
    assert parse(body)
    refused(shared, "shares its values")


def test_rows_in_order_stay_in_order():
    rows = [((T0 + k) * NS, [float(k)] * 4) for k in (0, 1, 5, 6, 9)]
    found = parse(stream([field("V1:x", rate=4)], rows, per_batch=2))
    assert [(r.t0 - T0, r.n) for r in found] == [(0, 8), (5, 8), (9, 4)]
    assert all(a.t0 < b.t0 for a, b in pairwise(found))


def test_lists_that_run_backwards_are_refused_before_they_are_followed():
    """[0, 3, 1] ends within the values, and its first list does not."""
    body = stream([field("V1:x", rate=4)], [[T0 * NS, [1.0, 2.0]], [(T0 + 1) * NS, [3.0]]], per_batch=2)
    offsets = struct.pack("<3i", 0, 2, 3)
    assert body.count(offsets) == 1
    refused(body.replace(offsets, struct.pack("<3i", 0, 1000, 3)), "row 0")
    refused(body.replace(offsets, struct.pack("<3i", 0, 3, 1)), "row 1")
    refused(body.replace(offsets, struct.pack("<3i", -8, 2, 3)), "row 0")
