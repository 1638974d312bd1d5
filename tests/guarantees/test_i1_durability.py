"""I1: what was acknowledged survives the death of any process, and the loss of everything that was not synced."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path

import pytest

from tests.support.builders import segment
from tests.support.checks import check_archive, wait_for
from tests.support.load import Sent, post_all
from tests.support.power_loss import build_shim, environment, lose_power


def bodies(count, start=0):
    """Made as they are sent: every one is different."""
    return (("", segment(1 + i % 300, t0=1000.0 + i)) for i in range(start, start + count))


def test_i1_acknowledged_segments_survive_sigkill_under_load(topology, new_store):
    store = new_store(topology)

    def kill() -> None:
        wait_for(lambda: len(os.listdir(store.data)) > 300, timeout=30)
        for process in (store.writer, store.ingest):
            process.kill()

    killing = threading.Thread(target=kill)
    killing.start()
    sent = post_all(store.url("/sendF"), bodies(30_000), 64, stop=lambda: not killing.is_alive())
    killing.join()
    acked = {s.name: s.body for s in sent if s.status == 201}
    assert len(acked) > 100
    for process in {store.writer, store.ingest}:
        process.start()
        process.wait()
    store.check_exact()
    files = store.files()
    assert all(files.get(name) == body for name, body in acked.items())


def test_i1_a_clean_stop_leaves_nothing_in_the_spool(topology, new_store):
    store = new_store(topology, HOUSEKEEPING="0.2")
    sent = post_all(store.url("/sendF"), bodies(200), 8)
    assert {s.status for s in sent} == {201}
    store.ingest.stop()
    store.writer.stop()
    assert [p for p in (store.root / "datavar/.spool").iterdir() if not p.name.endswith(".log")] == []
    if topology == "embedded":
        assert list((store.root / "datavar/.spool").iterdir()) == []
    store.writer.start()
    store.ingest.start() if topology == "split" else None
    store.writer.wait()
    assert store.check_exact()["n_itm"] == 200


# -- power loss -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def shim(tmp_path_factory) -> Path:
    return build_shim(tmp_path_factory.mktemp("shim")) or pytest.skip("no C compiler: power loss cannot be simulated")


@pytest.mark.parametrize("how", ["empty", "gone"])
@pytest.mark.parametrize("spool", ["100000000", "300000"])
def test_i1_acknowledged_segments_survive_a_power_loss(how, spool, topology, new_store, shim, tmp_path):
    log = tmp_path / "synced"
    often = {"HOUSEKEEPING": "0.2", "CHECKPOINT_SIZE": "20000"}
    if spool == "300000":
        often["WRITE_ONCE"] = "4000"  # half of the payloads are long
    store = new_store(topology, SPOOL_SIZE=spool, **often, **environment(shim, log))
    dying = threading.Event()

    def die():
        dying.set()
        for process in {store.writer, store.ingest}:
            process.kill()

    acked: dict[str, bytes] = {}
    lost = rounds = 0
    while not lost:  # a trim or a checkpoint may just have synced all there was: then once more
        rounds += 1
        assert rounds < 10
        dying.clear()
        sent: list[Sent] = []
        some = bodies(30_000, rounds * 30_000)
        load = threading.Thread(
            target=lambda to=sent, some=some: to.extend(post_all(store.url("/sendF"), some, 32, stop=dying.is_set))
        )
        load.start()
        time.sleep(0.7)
        assert store.cleanall().status == 201
        time.sleep(0.7)
        die()
        load.join()
        taken = {s.name: s.body for s in sent if s.status == 201}
        assert len(taken) > 100
        acked |= taken
        store.stop()
        lost = lose_power(store.root, log, how)
        log.unlink()
        store.start()
        store.check_exact()
    assert len(store.archives()) == rounds
    files = {**store.files()}
    for archive in store.archives():
        files |= check_archive(archive)
    assert all(files.get(name) == body for name, body in acked.items())
