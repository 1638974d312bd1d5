"""I7: two writers at once are safe, as they are during a rollout."""

from __future__ import annotations

import signal
import threading
import time

import pytest
import urllib3

from tests.support.builders import segment
from tests.support.checks import check_archive
from tests.support.load import Sent, post_all
from tests.support.servers import Process, Store, http


@pytest.fixture
def two(topology, new_store, tmp_path):
    """Two stores on one volume: two embedded ones, or two writers with an ingest each."""
    one = new_store(topology)
    other = Store(topology, one.root, forked=True)
    if topology == "split":
        for target in ("stats", "files", "logdump", "freeze", "cleanall"):
            other.processes[target] = one.processes[target]
        other.processes["ingest"] = Process("ingest", {**other.env, "WRITER_URL": other.writer.url}, forked=True)
    started = [process.start(wait="") for process in {other.writer, other.ingest}]
    for process in started:
        process.wait()
    yield one, other
    for process in started:
        process.stop()


def load(store, count, sent, start=0):
    bodies = (("", segment(1 + i % 50, t0=1000.0 * start + i)) for i in range(count))
    thread = threading.Thread(target=lambda: sent.extend(post_all(store.url("/sendF"), bodies, 16)))
    thread.start()
    return thread


def test_i7_two_writers_fed_at_once_are_exact(two):
    sent: list[Sent] = []
    threads = [load(store, 800, sent, i) for i, store in enumerate(two)]
    for thread in threads:
        thread.join()
    assert {s.status for s in sent} == {201}
    assert len({s.name for s in sent}) == 1600
    for store in two:
        assert store.check_exact()["n_itm"] == 1600
    files = two[0].files()
    assert all(files[s.name] == s.body for s in sent)


def test_i7_freeze_and_cleanall_at_one_writer_bind_the_other(two):
    one, other = two
    sent: list[Sent] = []
    threads = [load(store, 1500, sent, i) for i, store in enumerate(two)]
    while one.stat()["n_itm"] < 100:
        time.sleep(0.01)
    assert one.freeze().status == 201
    frozen = one.files()
    assert other.send(segment()).status == 503
    for thread in threads:
        thread.join()
    assert one.files() == frozen
    assert {s.name for s in sent if s.status == 201} == set(frozen)
    assert one.cleanall().status == 201
    (archive,) = one.archives()
    assert check_archive(archive) == frozen
    name = other.stored(segment(7))
    assert one.names() == other.names() == [name]
    for store in two:
        store.check_exact()


def test_i7_a_writer_paused_in_a_decision_holds_the_other_up_but_harms_nothing(two):
    one, other = two
    one.writer.stop()
    one.writer.start("/health/readiness", FAILPOINTS="journal.written=stop@3")
    names = [one.stored(segment(1)), one.stored(segment(2))]
    late = []
    thread = threading.Thread(target=lambda: late.append(one.send(segment(3))))
    thread.start()
    time.sleep(0.5)
    waiting = []
    second = threading.Thread(target=lambda: waiting.append(other.send(segment(4))))
    second.start()
    time.sleep(0.5)
    assert waiting == []
    assert http.request("GET", other.writer.url + "/health/liveness").status == 200
    one.writer.signal(signal.SIGCONT)
    thread.join()
    second.join()
    assert [answer.status for answer in late + waiting] == [201, 201]
    assert other.names()[:2] == names
    assert other.check_exact()["n_itm"] == 4


def test_i7_a_writer_killed_in_a_decision_leaves_it_to_the_other_to_finish(two):
    one, other = two
    one.writer.stop()
    one.writer.start("/health/readiness", FAILPOINTS="journal.synced=kill@3")
    if one.topology == "split":
        one.ingest.stop()
        one.ingest.start(COMMIT_TIMEOUT="1")
    one.stored(segment(1))
    one.stored(segment(2))
    if one.topology == "embedded":
        with pytest.raises(urllib3.exceptions.ProtocolError):
            one.send(segment(3), {"Idempotency-Key": "third"})
    else:
        assert one.send(segment(3), {"Idempotency-Key": "third"}).status == 503
    assert one.writer.wait_dead() == -9
    answer = other.send(segment(3), {"Idempotency-Key": "third"})
    assert answer.status == 201
    one.writer.start("/health/readiness")
    assert other.check_exact()["n_itm"] == 3
