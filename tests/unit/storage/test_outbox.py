"""The outbox without servers: where it begins on a volume that has no cursor."""

from __future__ import annotations

import pytest

from shared import events
from shared.config import store_from_env
from shared.storage.outbox import Outbox
from shared.storage.writer import Writer


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
