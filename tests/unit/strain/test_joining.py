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


@pytest.mark.parametrize("dt", [1 / 4096, 0.00024414, 0.000244140625 + 1e-12])
def test_a_rounded_sampling_interval_means_a_whole_rate(dt):
    ((stream,), _) = joining.streams([StoredSegment("a", "", "", 0.0, dt, 10)])
    assert stream.rate == 4096.0


@pytest.mark.parametrize("dt", [0.0, -1.0])
def test_files_without_usable_times_are_named(dt):
    assert joining.streams([StoredSegment("a", "", "", 0.0, dt, 10)]) == ([], ["a"])
