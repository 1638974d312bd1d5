"""I4: what is delivered more than once counts once."""

from __future__ import annotations

import json
import signal
import threading
import time
import zlib

import pytest

from shared.config import store_from_env
from shared.domain.commit import CommitRequest
from shared.ingest.spool_writer import SpoolWriter
from shared.storage.writer import Writer
from shared.volume.spool import SpoolPosition
from tests.support.builders import segment
from tests.support.load import post_all
from tests.support.servers import Process, http

PREFIX = "eu.intertwin.datastore."


@pytest.fixture
def config(tmp_path):
    return store_from_env({"ROOT": str(tmp_path / "store")})


@pytest.fixture
def writer(config):
    writer = Writer(config)
    writer.open()
    yield writer
    writer.close()


def spooled(config, payloads, keys=None):
    """Submissions whose payloads are really in a spool, as an ingest leaves them; the spool stays open."""
    spool = SpoolWriter.from_config(config)
    places = spool.store(payloads)
    assert all(isinstance(place, SpoolPosition) for place in places)
    return spool, [
        CommitRequest(*place, key=key) for place, key in zip(places, keys or [""] * len(places), strict=True)
    ]


def test_i4_the_same_commit_ten_times_counts_once(config, writer):
    spool, submissions = spooled(config, [segment(n) for n in range(1, 9)])
    answers = [writer.commit(submissions) for _ in range(10)]
    assert all(answer == answers[0] for answer in answers)
    assert writer.state().segments == 8
    spool.close()


def test_i4_the_same_commit_from_ten_threads_and_two_writers_counts_once(config, writer):
    other = Writer(config)
    other.open()
    spool, submissions = spooled(config, [segment(n) for n in range(1, 9)])
    answers = []
    threads = [threading.Thread(target=lambda w=w: answers.append(w.commit(submissions))) for w in (writer, other) * 5]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(answers) == 10
    assert all(answer == answers[0] for answer in answers)
    assert writer.state() == other.state()
    assert writer.state().segments == 8
    spool.close()
    other.close()


def test_i4_the_same_key_twice_in_one_group_counts_once(config, writer):
    payload = segment()
    spool, submissions = spooled(config, [payload, payload, segment(5)], ["k", "k", "other"])
    first, second, third = writer.commit(submissions)
    assert (first.name, first.size) == (second.name, second.size)
    assert (first.is_new, second.is_new, third.is_new) == (True, False, True)
    assert writer.state().segments == 2
    spool.close()


def test_i4_a_repeated_commit_with_a_key_known_from_before_is_answered_alike(config, writer):
    spool, submissions = spooled(config, [segment(1)], ["k"])
    (first,) = writer.commit(submissions)
    again, more = spooled(config, [segment(1), segment(2)], ["k", ""])
    answers = [writer.commit(more) for _ in range(3)]
    assert answers[0][0].name == first.name
    assert answers[0] == answers[1] == answers[2]
    assert writer.state().segments == 2
    spool.close()
    again.close()


def test_i4_a_commit_repeated_across_a_restart_and_a_cleanall_is_answered_alike(config, writer):
    spool, submissions = spooled(config, [segment(n) for n in range(1, 5)], ["a", "", "c", ""])
    first = writer.commit(submissions)
    writer.archive_batch()
    assert writer.commit(submissions) == first
    again = Writer(config)
    again.open()
    assert [v.name for v in again.commit(submissions)][0::2] == [v.name for v in first][0::2]
    assert again.state().segments == 0
    spool.close()
    again.close()


def test_i4_an_outdated_commit_from_a_trimmed_spool_is_not_stored(config, writer):
    spool, submissions = spooled(config, [segment()])
    spool.close()
    writer.trim()
    assert [v.code for v in writer.commit(submissions)] == ["BUSY"]
    assert writer.state().segments == 0


@pytest.mark.parametrize("spool", ["../../../etc", "", "a/b", "0" * 15, "zzzzzzzzzzzzzzzz"])
def test_i4_a_commit_naming_no_spool_touches_no_path(config, writer, spool):
    body = segment()
    verdicts = writer.commit([CommitRequest(spool, 0, len(body), zlib.crc32(body))])
    assert [v.code for v in verdicts] == ["BUSY"]
    assert writer.state().segments == 0


def structured(type, id, data, source="/test"):
    event = {"specversion": "1.0", "type": PREFIX + type, "source": source, "id": id, "data": data}
    return {"Content-Type": "application/cloudevents+json"}, json.dumps(event)


def binary(type, id, source="/test"):
    return {"ce-specversion": "1.0", "ce-type": PREFIX + type, "ce-source": source, "ce-id": id}


def test_i4_a_redelivered_event_counts_once_in_every_mode(store):
    data = {"h": [1e-21, 2.5], "t": [1126259446.5, 0.25]}
    unique = str(time.time_ns())
    headers, body = structured("segment", unique, data)
    for _ in range(3):
        answer = store.send(body, headers)
        assert (answer.status, answer.data) == (204, b"")
        answer = store.send(json.dumps(data).encode(), binary("segment", unique))
        assert (answer.status, answer.data) == (204, b"")
        batch = json.dumps([json.loads(body), {**json.loads(body), "id": unique + "b"}])
        answer = store.send(batch, {"Content-Type": "application/cloudevents-batch+json"})
        assert (answer.status, answer.data) == (204, b"")
    assert store.check_exact()["n_itm"] == 2
    assert all(json.loads(content) == data for content in store.files().values())


def test_i4_redelivered_freeze_and_cleanall_events_act_once(store):
    store.stored(segment())
    unique = str(time.time_ns())
    freeze = structured("freeze", "f" + unique, {"user": "op", "token": "t"})
    clean = structured("cleanall", "c" + unique, {})
    assert store.request("POST", "/upddsc", freeze[1], freeze[0]).status == 204
    assert store.dstat()["user"] == "op"
    assert store.request("POST", "/cleanall", clean[1], clean[0]).status == 204
    store.stored(segment())
    archives = len(store.archives())
    assert store.request("POST", "/upddsc", freeze[1], freeze[0]).status == 204
    assert store.request("POST", "/cleanall", clean[1], clean[0]).status == 204
    assert store.dstat()["dstatus"] == "OPERATIONAL"
    assert store.check_exact()["n_itm"] == 1
    assert len(store.archives()) == archives


def test_i4_two_ingest_pods_given_the_same_keys_store_each_once(store):
    if store.topology == "embedded":
        second = Process("datastore", store.env)
    else:
        second = Process("ingest", {**store.env, "WRITER_URL": store.writer.url})
    second.start("/health/readiness")
    try:
        bodies = [(f"pod-{time.time_ns()}-{i}", segment(2 + i % 9, t0=float(i))) for i in range(300)]
        sent = []
        threads = [
            threading.Thread(target=lambda u=url: sent.append(post_all(u + "/sendF", bodies, 8, retry=True)))
            for url in (store.ingest.url, second.url)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        one, other = ({s.key: s.name for s in batch} for batch in sent)
        assert one == other
        assert store.check_exact()["n_itm"] == 300
        assert http.request("GET", second.url + "/health/readiness").status == 200
    finally:
        second.stop()


def test_i4_a_group_that_ingest_gave_up_on_is_not_decided_later(new_store):
    """It waits in a writer that is held up; by the time it is read, any number of batches may have passed."""
    store = new_store("split", COMMIT_TIMEOUT="0.5")
    key = {"Idempotency-Key": "late"}
    store.stored(segment(1))
    store.writer.signal(signal.SIGSTOP)
    assert store.send(segment(2), key).json()["code"] == "BUSY"
    store.writer.signal(signal.SIGCONT)
    store.stored(segment(3))
    assert store.check_exact()["n_itm"] == 2
    store.stored(segment(2), key)
    assert store.check_exact()["n_itm"] == 3
