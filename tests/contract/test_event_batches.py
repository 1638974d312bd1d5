"""Batches of CloudEvents: all events are checked before the first is applied, and any number of segments is stored."""

from __future__ import annotations

import json

import pytest

from tests.support.builders import segment

PREFIX = "eu.intertwin.datastore."
BATCH = {"Content-Type": "application/cloudevents-batch+json"}


def event(kind: str, id: str, data: object, **more) -> dict:
    return {"specversion": "1.0", "type": PREFIX + kind, "source": "/test", "id": id, "data": data, **more}


def strain(id: str, t0: float = 1.0) -> dict:
    return event("segment", id, json.loads(segment(t0=t0)))


def deliver(store, route: str, *events: dict):
    return store.request("POST", route, json.dumps(events), BATCH)


def test_more_segments_than_the_queue_takes(new_store, topology):
    store = new_store(topology, WCHSZ="8")
    events = [strain(str(i), float(i)) for i in range(100)]
    answer = deliver(store, "/sendF", *events)
    assert answer.status == 204, answer.data
    assert store.check_exact()["n_itm"] == 100
    assert deliver(store, "/sendF", *events).status == 204
    assert store.stat()["n_itm"] == 100


@pytest.mark.parametrize(
    "bad",
    [
        event("segment", "bad", {"h": [], "t": [1.0, 1.0]}),
        event("segment", "bad", "text"),
        event("freeze", "bad", {"user": "u", "token": "t"}),
        event("unheard-of", "bad", {}),
    ],
)
def test_nothing_of_a_batch_with_a_bad_event_is_stored(store, bad):
    answer = deliver(store, "/sendF", strain("1"), bad, strain("2"), {**bad, "id": "worse"})
    assert answer.status == 400
    assert answer.json()["code"] == "ERRFMT"
    assert [(failed["source"], failed["id"]) for failed in answer.json()["failed"]] == [
        ("/test", "bad"), ("/test", "worse"),
    ]  # fmt: skip
    assert store.stat()["n_itm"] == 0


def test_events_that_are_refused_later_are_named(store):
    """A known key with another payload is found out only by the writer."""
    assert deliver(store, "/sendF", strain("1", 1.0)).status == 204
    answer = deliver(store, "/sendF", strain("0", 5.0), strain("1", 2.0), strain("2", 3.0))
    assert answer.status == 422
    assert [(failed["id"], failed["code"]) for failed in answer.json()["failed"]] == [("1", "ERRKEY")]
    assert store.stat()["n_itm"] == 3


def test_a_frozen_batch_names_all(store):
    assert store.freeze().status == 201
    answer = deliver(store, "/sendF", strain("f1"), strain("f2"))
    assert (answer.status, answer.json()["code"]) == (503, "FROZEN")
    assert [failed["id"] for failed in answer.json()["failed"]] == ["f1", "f2"]


@pytest.mark.parametrize("route", ["/upddsc", "/cleanall"])
def test_freeze_and_cleanall_in_one_batch_do_neither(store, route):
    assert store.send(segment()).status == 201
    events = [event("freeze", "f", {"user": "u", "token": "t"}), event("cleanall", "c", {})]
    for order in (events, events[::-1]):
        assert deliver(store, route, *order).status == 400
        assert store.dstat()["dstatus"] == "OPERATIONAL"
        assert store.stat()["n_itm"] == 1


def test_a_freeze_before_one_that_cannot_be_read_is_not_done(store):
    events = [event("freeze", "f", {"user": "u", "token": "t"}), event("freeze", "g", {"dstatus": "MELTED"})]
    answer = deliver(store, "/upddsc", *events)
    assert answer.status == 400
    assert [failed["id"] for failed in answer.json()["failed"]] == ["g"]
    assert store.dstat()["dstatus"] == "OPERATIONAL"
