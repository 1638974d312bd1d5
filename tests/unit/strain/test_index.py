"""The index of strain by time, beside a model that holds one entry for each sample."""

from __future__ import annotations

import itertools
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.domain.runs import Runs
from shared.domain.sampling import exact_rate
from shared.domain.segment import StoredSegment
from shared.strain import index_file
from shared.strain.index import StrainIndex

BEGIN = 1126259446
RATES = (1, 64, 4096, 16384, 10, 1000 / 3, 4096.3, 1 / 16)
SEGMENTS = st.lists(st.tuples(st.integers(0, 300), st.integers(1, 80)), min_size=1, max_size=16)


def add(index, number, detector, channel, t0, dt, n, crc32=-1):
    index.add(number, StoredSegment("", detector, channel, t0, dt, n, crc32))


def stream_of(index: StrainIndex):
    (stream,) = index.streams.values()
    return stream


def held(stream) -> dict[int, tuple[int, int]]:
    """Slot -> row and number of the sample that fills it."""
    found: dict[int, tuple[int, int]] = {}
    for stretch in stream.stretches():
        position = stretch.first
        for piece in stream.pieces(stretch.first, stretch.stop):
            assert piece.first == position
            for i in range(piece.n):
                assert found.setdefault(piece.first + i, (piece.row, piece.skip + i)) == (piece.row, piece.skip + i)
            position += piece.n
        assert position == stretch.stop
    return found


@given(SEGMENTS, st.sampled_from(RATES), st.integers(0, 400), st.integers(0, 400))
@settings(max_examples=300, deadline=None)
def test_each_slot_holds_the_sample_that_was_stored_first(segments, rate, low, high):
    index, sent = StrainIndex(), 0
    model: dict[int, tuple[int, int]] = {}
    exact = exact_rate(rate)
    origin = -int(-(BEGIN * exact) // 1)  # the first slot from BEGIN on
    for row, (first, n) in enumerate(segments):
        add(index, row, "V1", "V1:X", float((origin + first) / exact), 1 / rate, n)
        sent += n
        for i in range(n):
            model.setdefault(origin + first + i, (row, i))
    stream = stream_of(index)
    assert held(stream) == model
    assert stream.samples == len(model)
    assert stream.overlaps == sent - len(model)
    ends = [k for k in model if k - 1 not in model], [k + 1 for k in model if k + 1 not in model]
    assert [(s.first, s.stop, s.phase) for s in stream.stretches()] == [
        (*span, 0) for span in zip(sorted(ends[0]), sorted(ends[1]), strict=True)
    ]
    low, high = origin + low, origin + high
    cut = [(p.first + i, (p.row, p.skip + i)) for p in stream.pieces(low, high) for i in range(p.n)]
    assert cut == sorted((slot, sample) for slot, sample in model.items() if low <= slot < high)
    assert [s.first for s in stream.stretches(low, high)] == [
        s.first for s in stream.stretches() if s.first < high and s.stop > low
    ]


@given(
    st.lists(st.tuples(st.integers(0, 300), st.integers(1, 80), st.floats(-0.5, 0.5)), min_size=1, max_size=16),
    st.sampled_from((64, 4096, 1000 / 3)),
)
@settings(max_examples=300, deadline=None)
def test_times_off_the_grid_are_kept_to_a_quarter_of_a_sample(segments, rate):
    index, times = StrainIndex(), []
    for row, (first, n, miss) in enumerate(segments):
        times.append((first + miss) / rate + BEGIN)
        add(index, row, "V1", "V1:X", times[-1], 1 / rate, n)
    stream = stream_of(index)
    found = held(stream)
    assert stream.samples == len(found) == sum(n for _, n, _ in segments) - stream.overlaps
    stretches = list(stream.stretches())
    for before, after in itertools.pairwise(stretches):
        assert before.stop <= after.first
    for stretch in stretches:
        for piece in stream.pieces(stretch.first, stretch.stop):
            sent = Fraction(times[piece.row]) + piece.skip / stream.rate
            # A quarter against the stretch's grid, and another where a later one has joined two stretches.
            assert abs(stream.time(stretch, piece.first) - sent) * stream.rate <= Fraction(1, 2) + Fraction(1, 100)


@given(SEGMENTS, st.integers(1, 5))
@settings(max_examples=50, deadline=None)
def test_a_stream_whose_rate_turns_out_later_is_as_if_it_had_been_known(segments, runs):
    """Segments with a rounded interval, in runs that tell the rate only after a while."""
    late, known = StrainIndex(), StrainIndex()
    starts = [first * 80 for first, _ in segments]
    for run in range(runs):
        starts += [100_000 * (run + 1) + k * 300 for k in range(10 + 10 * run)]
    for number, start in enumerate(starts):
        t0 = BEGIN + start / 4096
        add(late, number, "V1", "V1:X", t0, 0.000244, 300)
        add(known, number, "V1", "V1:X", t0, 1 / 4096, 300)
    ((key, stream),) = late.streams.items()
    assert key == ("V1", "V1:X", 4096.0)
    assert late.stated_rates(key) == [pytest.approx(1 / 0.000244)]
    assert held(stream) == held(stream_of(known))
    assert list(stream.stretches()) == list(stream_of(known).stretches())
    assert list(late.rows(key)) == list(range(len(starts)))


def test_two_stated_rates_that_are_one_rate_are_joined():
    index = StrainIndex()
    for k in range(40):
        add(index, k, "V1", "V1:X", BEGIN + k * 300 / 4096, (0.000244, 1 / 4096)[k >= 20], 300)
    assert [(s.first, s.stop) for s in stream_of(index).stretches()] == [(BEGIN * 4096, BEGIN * 4096 + 12000)]


def test_stretches_that_meet_across_half_a_slot_are_one():
    index = StrainIndex()
    add(index, 0, "V1", "V1:X", 100 + 0.45 / 4, 1 / 4, 4)
    add(index, 1, "V1", "V1:X", 102 + 0.55 / 4, 1 / 4, 4)
    add(index, 2, "V1", "V1:X", 101 + 0.45 / 4, 1 / 4, 4)
    (stretch,) = stream_of(index).stretches()
    assert stretch.stop - stretch.first == 12
    assert [p.row for p in stream_of(index).pieces(stretch.first, stretch.stop)] == [0, 2, 1]


@pytest.mark.parametrize("rate", [2.0**k for k in range(-4, 21)] + [1000, 10_000, 20_000, 50, 44_100])
def test_sample_times_are_multiples_of_the_interval(rate):
    index = StrainIndex()
    for number, k in enumerate((0, 12345, 987654)):
        t0 = float(Fraction(int(BEGIN * rate) + k) / exact_rate(rate))
        add(index, number, "V1", "V1:X", t0, 1 / rate, 1)
    assert all(stretch.phase == 0 for stretch in stream_of(index).stretches())


@pytest.mark.parametrize("overlap", [1, 10, -10])
def test_equal_overlaps_or_gaps_do_not_make_a_whole_rate_another_one(overlap):
    index = StrainIndex()
    for k in range(40):
        add(index, k, "V1", "V1:Hrec", 1000.0 + k * (16384 - overlap) / 16384, 1 / 16384, 16384)
    assert list(index.streams) == [("V1", "V1:Hrec", 16384.0)]


CHANNELS = ("V1:A", "V1:B", "V1:C", "V1:D")
RUNS = st.tuples(
    st.sets(st.sampled_from(CHANNELS), min_size=1).map(lambda names: tuple(sorted(names, reverse=len(names) % 2 == 0))),
    st.integers(0, 200), st.sampled_from([0.0, 0.0, 0.0, 0.3, -0.2]), st.sampled_from([1 / 64, 1 / 64, 0.01562, 0.0]),
    st.integers(1, 60),
)  # fmt: skip


def told(index: StrainIndex, key):
    """All that an index says of a stream, with the files' numbers for its rows."""
    stream = index.streams[key]
    pieces = [p._replace(row=index.numbers[p.row]) for p in stream.pieces(-(1 << 60), 1 << 60)]
    rows = [index.numbers[row] for row in index.rows(key)]
    return list(stream.stretches()), pieces, stream.overlaps, stream.samples, index.stated_rates(key), rows


@given(st.lists(RUNS, max_size=30), st.integers(0, 30), st.booleans())
@settings(max_examples=300, deadline=None)
def test_runs_of_many_channels_are_as_if_each_channel_had_come_alone(arrivals, saved, contiguous):
    """The streams of an index with a row for each channel, also where an index was saved between."""
    index, single = StrainIndex(), StrainIndex()
    position = 0
    for number, (channels, first, miss, dt, n) in enumerate(arrivals):
        if number == saved:
            index, _ = index_file.decode(index_file.encode(index, index_file.Head(1, 2, 3, 4)))
        t0 = BEGIN + (position if contiguous else first + miss) / 64
        position += n
        index.add_runs(number, 7 * number, Runs("V1", t0, dt, n, channels))
        for channel in channels:
            add(single, number, "V1", channel, t0, dt, n, 7 * number)
    assert set(index.streams) == set(single.streams)
    for key in index.streams:
        assert told(index, key) == told(single, key)
    assert [index.keys_of(channel) for channel in CHANNELS] == [single.keys_of(channel) for channel in CHANNELS]
    assert [index.numbers[row] for row in index.unusable] == sorted({single.numbers[row] for row in single.unusable})


def test_the_order_of_arrival_of_streams_outlives_saving():
    index = StrainIndex()
    for number, (channels, dt) in enumerate([("AB", 1 / 64), ("C", 1 / 64), ("B", 1 / 32), ("ABC", 1 / 16)]):
        index.add_runs(number, -1, Runs("V1", float(BEGIN), dt, 60, tuple(f"V1:{name}" for name in channels)))
    restored, _ = index_file.decode(index_file.encode(index, index_file.Head(1, 2, 3, 4)))
    assert list(restored.streams) == list(index.streams)
    assert [key[1:] for key in index.streams][:4] == [
        ("V1:A", 64.0), ("V1:B", 64.0), ("V1:C", 64.0), ("V1:B", 32.0),
    ]  # fmt: skip


def test_channels_that_arrive_together_take_the_room_of_one():
    index = StrainIndex()
    channels = tuple(f"V1:X{i}" for i in range(1000))
    for k in range(50):
        index.add_runs(k, -1, Runs("V1", float(BEGIN + k), 1 / 4096, 4096, channels))
    index.add_runs(50, -1, Runs("V1", float(BEGIN + 50), 1 / 4096, 4096, channels[:1]))
    index.add_runs(51, -1, Runs("V1", float(BEGIN + 51), 1 / 4096, 4096, channels))
    assert (len(index), index.size, len(index.streams)) == (52, 52 + 51 + 52, 1000)
    assert [index.streams["V1", channel, 4096.0].samples for channel in channels[:2]] == [52 * 4096, 51 * 4096]
