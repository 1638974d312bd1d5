"""Segments are found at any moment of a cleanall by whoever names their batch, or all."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from shared.storage import archive
from shared.storage.reader import BatchReader


@pytest.mark.parametrize("batch", ["all", "1"])
@pytest.mark.parametrize("moment", ["clean.moved", "clean.summary", "clean.archived", "clean.opened"])
def test_a_segment_is_found_while_its_batch_is_archived(bench, monkeypatch, moment, batch):
    bench.store(100)
    reader = BatchReader(bench.config)
    (name,) = reader.names()
    content = reader.segment(name)
    with ThreadPoolExecutor(1) as threads:
        looked = []
        monkeypatch.setattr(
            archive,
            "failpoint",
            lambda passed: looked.append(threads.submit(reader.segment, name, batch)) if passed == moment else None,
        )
        bench.writer.archive_batch()
    assert [one.result() for one in looked] == [content]


@pytest.mark.parametrize("batch", ["all", "1"])
def test_a_segment_is_found_whose_batch_is_archived_behind_the_first_look(bench, monkeypatch, batch):
    bench.store(100)
    reader = BatchReader(bench.config)
    (name,) = reader.names()
    content, select = reader.segment(name), reader.batches.select
    archiving = iter([bench.writer.archive_batch])

    def outdated(wanted: str):
        chosen = select(wanted)
        for archive_it in archiving:
            archive_it()
        return chosen

    monkeypatch.setattr(reader.batches, "select", outdated)
    assert reader.segment(name, batch) == content
