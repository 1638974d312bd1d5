"""I8: cleanall is all or nothing; whatever was acknowledged is in exactly one batch."""

from __future__ import annotations

import threading
import time

from tests.support.builders import segment
from tests.support.checks import check_archive
from tests.support.load import post_all


def test_i8_cleanall_under_load_splits_the_stream_exactly(store):
    known = set(store.archives())
    sent = []
    bodies = (("", segment(1 + i % 60, t0=1000.0 + i)) for i in range(4000))
    load = threading.Thread(target=lambda: sent.extend(post_all(store.url("/sendF"), bodies, 32)))
    load.start()
    for _ in range(3):
        time.sleep(0.4)
        assert store.cleanall().status == 201
    load.join()
    assert {s.status for s in sent} == {201}
    store.check_exact()
    stored = dict(store.files())
    archives = set(store.archives()) - known
    assert len(archives) == 3
    for archive in archives:
        files = check_archive(archive)
        assert not stored.keys() & files.keys()
        stored.update(files)
    assert stored == {s.name: s.body for s in sent}


def test_i8_an_empty_batch_can_be_filed_away(store):
    known = set(store.archives())
    assert store.cleanall().status == 201
    (archive,) = set(store.archives()) - known
    assert check_archive(archive) == {}


def test_i8_cleanalls_at_once_all_succeed(store):
    store.stored(segment())
    known = set(store.archives())
    statuses = []
    threads = [threading.Thread(target=lambda: statuses.append(store.cleanall().status)) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert statuses == [201] * 6
    archives = set(store.archives()) - known
    assert len(archives) == 6
    assert sum(len(check_archive(archive)) for archive in archives) == 1
    assert store.check_exact()["n_itm"] == 0
