"""I4: what is delivered more than once counts once."""

from __future__ import annotations

import json
import signal
import threading
import time

from tests.support.builders import segment
from tests.support.load import post_all
from tests.support.servers import Process, http

PREFIX = "eu.intertwin.datastore."


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
        second = Process("datastore", store.env, forked=True)
    else:
        second = Process("ingest", {**store.env, "WRITER_URL": store.writer.url}, forked=True)
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
