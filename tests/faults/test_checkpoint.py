"""A start goes on from the checkpoint only where that changes nothing but the time it takes."""

from __future__ import annotations

import json

import pytest

from tests.support.builders import segment
from tests.support.checks import wait_for
from tests.support.servers import http

RESUMED = "resuming from the checkpoint at byte"


def checkpoint(store):
    return store.root / "appdata/adm/checkpoint"


def resumed(store) -> int:
    """How often the store has gone on from a checkpoint."""
    return store.writer.text().count(RESUMED)


@pytest.fixture
def filled(topology, new_store):
    """A stopped store: one batch with keys in an archive, the next frozen with 20 segments, half of them with keys."""
    store = new_store(topology)
    store.answers = {}
    for n in range(1, 6):
        store.answers[f"old-{n}"] = store.stored(segment(n), {"Idempotency-Key": f"old-{n}"})
    assert store.cleanall().status == 201
    for n in range(1, 21):
        headers = {"Idempotency-Key": f"new-{n}"} if n % 2 else {}
        name = store.stored(segment(n), headers)
        if headers:
            store.answers[f"new-{n}"] = name
    store.freeze("operator", "s3cret")
    before = store.check_exact(), store.dstat(), store.names()
    store.stop()
    return store, before


def test_a_clean_stop_makes_the_next_start_go_on_from_there(filled):
    store, before = filled
    assert checkpoint(store).exists()
    store.start()
    assert resumed(store) == 1
    assert (store.check_exact(), store.dstat(), store.names()) == before
    for key, name in store.answers.items():  # of both batches
        assert store.stored(segment(int(key.split("-")[1])), {"Idempotency-Key": key}) == name
    store.request("POST", "/upddsc", json.dumps({"dstatus": "OPERATIONAL"}))
    store.stored(segment(99))
    store.writer.kill()
    store.writer.start("/health/readiness")
    assert resumed(store) == 2  # what came after it is folded on top
    assert store.check_exact()["n_itm"] == 21
    assert store.cleanall().status == 201
    store.stored(segment(5))
    store.writer.kill()
    store.writer.start("/health/readiness")
    assert resumed(store) == 2  # it was of the batch before
    assert store.check_exact()["n_itm"] == 1


def test_a_running_store_keeps_checkpoints_as_its_journal_grows(topology, new_store):
    store = new_store(topology, CHECKPOINT_SIZE="1000", HOUSEKEEPING="0.1")
    names = [store.stored(segment(n)) for n in range(1, 20)]
    wait_for(checkpoint(store).exists)
    store.writer.kill()
    store.writer.start("/health/readiness")
    assert resumed(store) == 1
    assert store.names() == names
    assert store.check_exact()["n_itm"] == 19


@pytest.mark.parametrize("fault", ["missing", "empty", "bit", "cut", "of an older journal", "nonsense"])
def test_without_a_usable_checkpoint_the_journal_is_folded(fault, filled):
    store, before = filled
    path = checkpoint(store)
    content = bytearray(path.read_bytes())
    if fault == "missing":
        path.unlink()
    elif fault == "empty":
        path.write_bytes(b"")
    elif fault == "bit":
        content[len(content) // 2] ^= 16
        path.write_bytes(content)
    elif fault == "cut":
        path.write_bytes(content[:-9])
    elif fault == "nonsense":
        path.write_bytes(b"\xff" * 5000)
    else:  # as if the volume had been put back from a copy that was made in between
        lines = store.journal.read_bytes().splitlines(keepends=True)
        store.journal.write_bytes(b"".join(lines[:-3]))
        for line in lines[-3:-1]:
            (store.data / json.loads(line)["name"]).unlink()
    store.start()
    assert resumed(store) == 0
    if fault == "of an older journal":
        assert store.check_exact()["n_itm"] == 18
        assert store.dstat()["dstatus"] == "OPERATIONAL"
    else:
        assert (store.check_exact(), store.dstat(), store.names()) == before


def test_i6_damage_that_the_checkpoint_has_passed_is_found_all_the_same(filled):
    store, _ = filled
    whole = bytearray(store.journal.read_bytes())
    at = whole.index(b"\n", len(whole) // 2) + 1
    whole[at + 60] ^= 1
    store.journal.write_bytes(whole)
    store.start(ready=False)
    ready = http.request("GET", store.writer.url + "/health/readiness")
    assert (ready.status, ready.json()["code"]) == (503, "DAMAGED")
    assert f"damaged at byte {at}" in ready.json()["body"]
