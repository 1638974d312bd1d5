"""The outbox: facts reach the sink at least once, in order, and never before they are durable."""

from __future__ import annotations

import time

from shared.storage.journal import scan
from tests.support.blocks import T0, arrow_block, held
from tests.support.builders import segment
from tests.support.checks import wait_for
from tests.support.event_sink import Sink


def test_frozen_and_cleaned_are_announced_in_order(topology, new_store):
    with Sink() as sink:
        store = new_store(topology, K_SINK=sink.url, EVENT_SOURCE="/virgo/test")
        store.stored(segment(4))
        store.freeze("operator", "s3cret")
        store.cleanall()
        wait_for(lambda: len(sink.events) == 2)
        (frozen, first), (cleaned, second) = sink.facts()
        assert (frozen, cleaned) == ("frozen", "cleaned")
        size = len(segment(4))
        assert {k: first[k] for k in ("batch", "n_itm", "buff_size", "user")} == {
            "batch": 1, "n_itm": 1, "buff_size": size, "user": "operator",
        }  # fmt: skip
        assert first["data"] == str(store.data)
        assert {k: second[k] for k in ("batch", "n_itm", "buff_size")} == {"batch": 1, "n_itm": 1, "buff_size": size}
        assert second["archive"] == store.archives()[0].name
        for event in sink.events:
            assert event["source"] == "/virgo/test"
            assert event["type"].startswith("eu.intertwin.datastore.")
            assert "s3cret" not in str(event)


def test_a_sink_that_refuses_gets_the_fact_later_and_once(topology, new_store):
    with Sink() as sink:
        sink.refuse = 3
        store = new_store(topology, K_SINK=sink.url)
        store.freeze()
        wait_for(lambda: sink.events)
        time.sleep(1)
        assert [name for name, _ in sink.facts()] == ["frozen"]
        assert len(sink.events) == 1


def test_facts_of_batches_filed_away_while_the_sink_was_down_are_delivered(topology, new_store):
    with Sink() as sink:
        sink.refuse = 10**9
        store = new_store(topology, K_SINK=sink.url)
        for _ in range(3):
            store.stored(segment())
            store.freeze()
            store.cleanall()
        assert sink.events == []
        store.writer.kill()
        sink.refuse = 0
        store.writer.start("/health/readiness")
        wait_for(lambda: len(sink.facts()) == 6)
        assert [(name, about["batch"]) for name, about in sink.facts()] == [
            (name, batch) for batch in (1, 2, 3) for name in ("frozen", "cleaned")
        ]


def test_stored_segments_are_announced_if_asked_for(topology, new_store):
    with Sink() as sink:
        store = new_store(topology, K_SINK=sink.url, SEGMENT_FACTS="true")
        names = [store.stored(segment(n, detector="V1", channel="V1:Hrec")) for n in (3, 4)]
        names.append(store.stored(arrow_block(2, 5)))
        wait_for(lambda: len(sink.events) == 3)
        assert [about["name"] for _, about in sink.facts()] == names
        assert sink.facts()[0][1]["detector"] == "V1"
        about = sink.facts()[2][1]
        assert (about["format"], held(about)) == ("arrow", [["V1", f"V1:CH_{i}", T0, 1 / 4096, 5] for i in range(2)])
        with store.journal.open("rb") as file:
            assert [entry.record.samples for entry in scan(file)] == [0, 3, 4, 10]
