"""When a batch may freeze: the pure parts, and a batch that freezes by itself."""

from __future__ import annotations

import json
import random
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.domain.freeze_policy import FreezePolicy
from shared.domain.livetime import Livetime
from tests.support.builders import segment
from tests.support.checks import check_archive
from tests.support.load import post_all


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
        coverage.add(("L1", ""), 1126259446.0 + start * dt, dt, n)
    assert coverage.total == pytest.approx(len(covered) * dt, abs=1e-5)
    assert coverage.longest_span == pytest.approx(longest * dt, abs=1e-5)


def test_strain_is_contiguous_within_one_stream_only():
    coverage = Livetime()
    coverage.add(("L1", ""), 100.0, 0.5, 4)
    coverage.add(("H1", ""), 102.0, 0.5, 4)
    assert (coverage.total, coverage.longest_span) == (4.0, 2.0)
    coverage.add(("L1", ""), 102.0, 0.5, 2)
    assert (coverage.total, coverage.longest_span) == (5.0, 3.0)


def test_a_long_log_is_taken_in_quickly_enough_to_be_followed():
    coverage = Livetime()
    order = list(range(20_000))
    random.Random(1).shuffle(order)
    for i in order:
        coverage.add(("V1", ""), i * 0.5, 0.25, 2)
    assert coverage.total == coverage.longest_span == 10_000


# -- a batch that freezes by itself ------------------------------------------------------------------------------


def test_i3_a_batch_freezes_by_itself_when_it_may_and_nothing_enters_afterwards(new_store, topology):
    store = new_store(topology, AUTO_FREEZE="true", MAX_SIZE="20000", GROUP_SIZE="4")
    sent = post_all(store.url("/sendF"), [("", segment(20 + i)) for i in range(200)], 8)
    taken = {s.name: s.body for s in sent if s.status == 201}
    assert {s.status for s in sent} == {201, 503}
    assert store.files() == taken
    stat = store.check_exact()
    assert stat["buff_size"] >= 20_000
    sizes = [entry["size"] for entry in store.logged()]
    assert sum(sizes[:-4]) < 20_000  # the group that reached the threshold was the last
    assert store.dstat() == {"dstatus": "FROZEN", "user": "auto", "token": "auto"}
    assert store.cleanall().status == 201
    assert check_archive(store.archives()[-1]) == taken
    assert store.dstat()["dstatus"] == "OPERATIONAL"


def test_a_batch_waits_for_its_minimum_of_strain_and_no_longer(new_store, topology):
    store = new_store(topology, AUTO_FREEZE="true", MAX_SIZE="1", MIN_SECONDS="2")
    for t0 in (100.0, 101.25, 105.0):  # 1 s each, with holes
        store.stored(segment(4, t0=t0, dt=0.25))
        assert store.dstat()["dstatus"] == "OPERATIONAL"
    store.writer.kill()
    store.writer.start("/health/readiness")  # what was covered is known again
    store.stored(segment(4, t0=106.0, dt=0.25))
    assert store.dstat()["dstatus"] == "FROZEN"


def test_a_batch_that_fell_due_while_the_writer_was_down_is_frozen_at_its_start(new_store, topology):
    store = new_store(topology, MAX_SIZE="1")
    store.stored(segment())
    store.writer.kill()
    store.writer.start("/health/readiness", AUTO_FREEZE="true")
    deadline = time.monotonic() + 10
    while store.dstat()["dstatus"] != "FROZEN" and time.monotonic() < deadline:
        time.sleep(0.05)
    assert store.dstat()["dstatus"] == "FROZEN"


@pytest.mark.parametrize(
    ("name", "value"),
    [("MAX_SIZE", "0"), ("MAX_SIZE", "2kB"), ("MIN_SECONDS", "-1"), ("MIN_SECONDS", "nan"), ("AUTO_FREEZE", "yes")],
)
def test_a_bad_policy_is_named_at_the_start(name, value):
    from shared.config import ConfigError, policy_from_env

    with pytest.raises(ConfigError, match=f"^{name}={json.dumps(value)[1:-1]!r}: must be "):
        policy_from_env({name: value})
