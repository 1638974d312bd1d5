"""A batch that freezes by itself."""

from __future__ import annotations

from tests.support.builders import segment
from tests.support.checks import check_archive, wait_for
from tests.support.load import post_all


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
    wait_for(lambda: store.dstat()["dstatus"] == "FROZEN", timeout=10)
