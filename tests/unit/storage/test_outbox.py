"""The outbox without servers: where it begins on a volume that has no cursor."""

from __future__ import annotations

import pytest

from shared import events
from shared.config import store_from_env
from shared.domain.records import OPEN, UPDATE
from shared.storage import journal
from shared.storage.outbox import Outbox
from shared.storage.writer import Writer
from shared.trace_context import outgoing, parse, within


@pytest.mark.parametrize("batches", [0, 1])
def test_what_is_decided_before_the_first_delivery_is_announced(tmp_path, batches):
    silent = Writer(store_from_env({"ROOT": str(tmp_path)}))
    silent.open()
    for _ in range(batches):  # of a time without a sink: not announced
        silent.set_status("ada", "")
        silent.archive_batch()
    silent.close()
    config = store_from_env({"ROOT": str(tmp_path), "K_SINK": "http://sink"})
    writer, sent = Writer(config), []
    outbox = Outbox(config, writer, lambda type, id, data: sent.append((type, data["batch"])))
    writer.open()
    writer.set_status("ada", "")
    outbox.deliver()
    assert sent == [(events.FROZEN, batches + 1)]
    writer.archive_batch()
    outbox.deliver()
    assert sent[1:] == [(events.CLEANED, batches + 1)]
    writer.close()


def test_a_decision_keeps_the_trace_of_its_request_and_the_fact_carries_it(tmp_path):
    config = store_from_env({"ROOT": str(tmp_path), "K_SINK": "http://sink"})
    writer, sent = Writer(config), []
    outbox = Outbox(config, writer, lambda type, id, data: sent.append(outgoing()))
    writer.open()
    cause = parse(f"00-{1:032x}-{2:016x}-01", "a=b")
    assert cause is not None
    with within(cause):
        writer.set_status("ada", "")
        writer.archive_batch()
    writer.set_status("ada", "")
    with within(parse(f"00-{3:032x}-{3:016x}-01")):  # whoever delivers
        outbox.deliver()
    assert sent == [cause.members, cause.members, {}]
    with open(writer.layout.journal, "rb") as file:
        assert [(x.record.kind, x.record.traceparent) for x in journal.scan(file)] == [(OPEN, ""), (UPDATE, "")]
    writer.close()
