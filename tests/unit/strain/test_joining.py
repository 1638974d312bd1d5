"""Joining segments to strain: order, gaps, overlaps and pieces, on files as the store keeps them."""

from __future__ import annotations

import dataclasses
import itertools
import json
import tempfile

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.config import store_from_env
from shared.domain.segment import StoredSegment
from shared.strain import joining

RATES = (64, 4096, 16384, 10, 1000 / 3)


def stored(name, t0, rate, n, detector="V1", channel=""):
    return StoredSegment(name, detector, channel, t0, 1 / rate, n)


@given(
    st.lists(st.tuples(st.integers(0, 300), st.integers(1, 80)), min_size=1, max_size=12),
    st.sampled_from(RATES),
    st.sampled_from([0, 1126259446, 968654552.0001]),
    st.integers(20, 200),
    st.randoms(use_true_random=False),
)
@settings(max_examples=150, deadline=None)
def test_every_time_is_covered_once_by_its_own_sample(spans, rate, begin, longest, shuffle):
    """Segments anywhere, overlapping or not: sample number i of the truth has the value i."""
    with tempfile.TemporaryDirectory() as folder:
        config = dataclasses.replace(store_from_env({"ROOT": folder}), data_root=folder)
        segments = []
        for position, (first, n) in enumerate(spans):
            with open(f"{folder}/gwb{position}.json", "w") as file:
                json.dump({"h": [float(i) for i in range(first, first + n)]}, file)
            segments.append(stored(f"gwb{position}.json", begin + first / rate, rate, n))
        shuffle.shuffle(segments)
        ((stream,), unusable) = joining.streams(segments)
        assert unusable == []
        found = []
        for stretch in stream.stretches:
            values = joining.samples(config.data_root, stretch).tolist()
            assert len(values) == stretch.n
            assert abs((stretch.t0 - begin) * rate - values[0]) < 0.01
            assert values == [values[0] + i for i in range(len(values))]
            found.extend(values)
            pieces = list(joining.split(stream, stretch, longest / stream.rate, 5 / stream.rate))
            again = [joining.samples(config.data_root, piece).tolist() for piece in pieces]
            assert again[0][0] == values[0]
            assert again[-1][-1] == values[-1]
            for piece, part in zip(pieces, again, strict=True):
                assert len(part) == piece.n <= longest
                assert abs((piece.t0 - begin) * rate - part[0]) < 0.01
            for before, after in itertools.pairwise(again):
                assert before[-1] - after[0] + 1 in (4, 5)  # 5 samples in seconds may round down
        truth = {i for first, n in spans for i in range(first, first + n)}
        assert found == sorted(truth)
        assert stream.overlaps == sum(n for _, n in spans) - len(truth)


def test_detectors_channels_and_rates_are_kept_apart():
    segments = [
        stored("a", 0, 4096, 10), stored("b", 0, 4096, 10, "L1"), stored("c", 0, 4096, 10, "L1", "L1:X"),
        stored("d", 0, 16384, 10),
    ]  # fmt: skip
    streams, _ = joining.streams(segments)
    assert [(s.detector, s.channel, s.rate) for s in streams] == [
        ("L1", "", 4096.0), ("L1", "L1:X", 4096.0), ("V1", "", 4096.0), ("V1", "", 16384.0),
    ]  # fmt: skip


@pytest.mark.parametrize("dt", [1 / 4096, 0.000244140625 + 1e-11])
def test_a_sampling_interval_near_a_whole_rate_means_that_rate(dt):
    ((stream,), _) = joining.streams([StoredSegment("a", "", "", 0.0, dt, 10)])
    assert stream.rate == 4096.0


def following(rate, dt, n=300, count=200, begin=1126259446.0) -> list[StoredSegment]:
    """Segments whose times follow one another at one rate, and whose sampling interval says `dt`."""
    return [StoredSegment(f"gwb{k:019}.json", "V1", "", begin + k * n / rate, dt, n) for k in range(count)]


@pytest.mark.parametrize(("dt", "rate"), [(0.000244, 4096), (0.00024414, 4096), (6.1e-05, 16384), (0.003333, 300)])
def test_times_that_contradict_a_rounded_interval_tell_the_rate(dt, rate):
    ((stream,), _) = joining.streams(following(rate, dt))
    assert stream.rate == rate
    assert stream.stated_rates == [pytest.approx(1 / dt)]
    assert [(stretch.n, stretch.t0) for stretch in stream.stretches] == [(200 * 300, 1126259446.0)]


def test_a_rate_that_is_no_whole_number_stays_what_it_is():
    ((stream,), _) = joining.streams(following(4096.3, 1 / 4096.3))
    assert stream.rate == pytest.approx(4096.3, rel=1e-9)
    assert stream.stated_rates == []
    assert len(stream.stretches) == 1


@pytest.mark.parametrize("drift", [0.4, -0.4, 0.3])
def test_times_that_drift_off_the_grid_end_a_stretch_and_are_reported(drift):
    """Joined to the segment before, a thousand segments would lose track of 100 ms."""
    segments = [StoredSegment(f"gwb{k:019}.json", "V1", "", 1126259446.0 + k * (300 + drift) / 4096, 1 / 4096, 300)
                for k in range(1000)]  # fmt: skip
    ((stream,), _) = joining.streams(segments)
    for stretch in stream.stretches:
        position = 0
        for part in stretch.parts:
            began = segments[int(part.name[3:22])].t0 + part.skip / stream.rate
            assert abs((began - stretch.t0) * stream.rate - position) <= 0.25 + 1e-3
            position += part.n
    assert len(stream.gaps) == len(stream.stretches) - 1 > 100


@pytest.mark.parametrize("rate", [1000, 10000, 20000, 16384, 3000, 50])
def test_exact_times_stay_one_stretch_for_an_hour(rate):
    ((stream,), _) = joining.streams(following(rate, 1 / rate, count=3600 * rate // 300))
    assert [stretch.n for stretch in stream.stretches] == [3600 * rate // 300 * 300]
    assert stream.overlaps == 0


def test_samples_that_were_stored_first_stay():
    first = StoredSegment("gwb1.json", "V1", "", 100.5, 1 / 4, 4)
    second = StoredSegment("gwb2.json", "V1", "", 100.0, 1 / 4, 4)
    ((stream,), _) = joining.streams([first, second])
    (stretch,) = stream.stretches
    assert [(part.name, part.skip, part.n) for part in stretch.parts] == [("gwb2.json", 0, 2), ("gwb1.json", 0, 4)]
    assert stream.overlaps == 2
    ((stream,), _) = joining.streams([second, first])
    assert [(part.name, part.skip, part.n) for part in stream.stretches[0].parts] == [
        ("gwb2.json", 0, 4), ("gwb1.json", 2, 2),
    ]  # fmt: skip


def test_a_segment_around_stored_ones_fills_what_is_missing():
    parts = [
        StoredSegment("gwb1.json", "V1", "", 101.0, 1 / 4, 2),
        StoredSegment("gwb2.json", "V1", "", 102.0, 1 / 4, 2),
    ]
    around = StoredSegment("gwb3.json", "V1", "", 100.5, 1 / 4, 10)
    ((stream,), _) = joining.streams([*parts, around])
    (stretch,) = stream.stretches
    assert [(part.name, part.skip, part.n) for part in stretch.parts] == [
        ("gwb3.json", 0, 2), ("gwb1.json", 0, 2), ("gwb3.json", 4, 2), ("gwb2.json", 0, 2), ("gwb3.json", 8, 2),
    ]  # fmt: skip
    assert stream.overlaps == 4


def test_strain_sampled_more_slowly_than_once_in_a_piece_is_split():
    ((stream,), _) = joining.streams([StoredSegment("a", "V1", "", 0.0, 100.0, 5)])
    pieces = list(joining.split(stream, stream.stretches[0], 64.0, 2.0))
    assert sum(piece.n for piece in pieces) == 5


@pytest.mark.parametrize("dt", [0.0, -1.0])
def test_files_without_usable_times_are_named(dt):
    assert joining.streams([StoredSegment("a", "", "", 0.0, dt, 10)]) == ([], ["a"])
