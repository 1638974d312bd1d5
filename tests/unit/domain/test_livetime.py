"""Livetime: the union of what segments cover."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.domain.livetime import Livetime


@given(st.lists(st.tuples(st.integers(0, 200), st.integers(1, 20)), max_size=40), st.randoms())
def test_coverage_is_the_union_of_the_segments_in_any_order(spans, rng):
    dt = 1 / 4096
    covered = {i for start, n in spans for i in range(start, start + n)}
    longest = run = 0
    for i in range(-1, 222):
        run = run + 1 if i in covered else 0
        longest = max(longest, run)
    rng.shuffle(spans)
    coverage = Livetime()
    for start, n in spans:
        coverage.add("L1", "", 1126259446.0 + start * dt, dt, n)
    assert coverage.total == pytest.approx(len(covered) * dt, abs=1e-5)
    assert coverage.longest_span == pytest.approx(longest * dt, abs=1e-5)


def test_strain_is_contiguous_within_one_stream_only():
    coverage = Livetime()
    coverage.add("L1", "", 100.0, 0.5, 4)
    coverage.add("H1", "", 102.0, 0.5, 4)
    assert (coverage.total, coverage.longest_span) == (4.0, 2.0)
    coverage.add("L1", "", 102.0, 0.5, 2)
    assert (coverage.total, coverage.longest_span) == (5.0, 3.0)


def test_a_long_log_is_taken_in_quickly_enough_to_be_followed():
    coverage = Livetime()
    order = list(range(20_000))
    random.Random(1).shuffle(order)
    for i in order:
        coverage.add("V1", "", i * 0.5, 0.25, 2)
    assert coverage.total == coverage.longest_span == 10_000


def test_coverage_comes_back_from_its_stretches():
    coverage = Livetime()
    for t0 in (5.0, 1.0, 2.0, 9.0):
        coverage.add("L1", "x", t0, 1.0, 1)
    coverage.add("H1", "x", 0.0, 0.25, 3)
    again = Livetime.from_spans(coverage.spans())
    assert (again.spans(), again.total, again.longest_span) == (coverage.spans(), 4.75, 2.0)
    for each in (coverage, again):
        each.add("L1", "x", 3.0, 1.0, 2)
    assert (again.spans(), again.longest_span) == (coverage.spans(), 5.0)


def test_an_interval_that_no_clock_can_have_adds_nothing():
    livetime = Livetime()
    livetime.add("V1", "V1:x", 1e9, 5e-324, 100)
    assert (livetime.total, livetime.longest_span) == (0.0, 0.0)
