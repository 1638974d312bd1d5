"""When a batch may freeze: the pure parts, and a batch that freezes by itself."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from shared.domain.freeze_policy import FreezePolicy


def test_the_original_s_threshold_is_inclusive():
    policy = FreezePolicy(min_bytes=2000)
    assert not policy.allows(1999)
    assert policy.allows(2000)


def test_a_minimum_of_strain_is_asked_for_besides_the_size():
    policy = FreezePolicy(min_bytes=2000, min_seconds=4)
    assert not policy.allows(10**9, 3.9)
    assert not policy.allows(1999, 100)
    assert policy.allows(2000, 4)


@given(st.integers(0, 10**7), st.floats(0, 100), st.floats(0, 50))
def test_the_bar_is_full_exactly_where_the_batch_may_freeze(size, seconds, least):
    policy = FreezePolicy(min_bytes=10**6, min_seconds=least)
    assert (policy.progress(size, seconds) == 1) == policy.allows(size, seconds)
    assert 0 <= policy.progress(size, seconds) <= 1
