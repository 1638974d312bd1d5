"""I1: what was acknowledged survives the death of any process, and the loss of everything that was not synced."""

from __future__ import annotations

import os
import shutil
import subprocess
import threading
from pathlib import Path

import pytest

from tests.harness import check_archive, segment
from tests.load import post_all


def bodies(count, start=0):
    """Made as they are sent: every one is different."""
    return (("", segment(1 + i % 300, t0=1000.0 + i)) for i in range(start, start + count))


def test_i1_acknowledged_segments_survive_sigkill_under_load(topology, new_store):
    store = new_store(topology)
    timer = threading.Timer(0.8, lambda: [p.kill() for p in (store.writer, store.ingest)])
    timer.start()
    sent = post_all(store.url("/sendF"), bodies(30_000), 64, stop=lambda: not timer.is_alive())
    timer.join()
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
    if not shutil.which("cc"):
        pytest.skip("no C compiler: power loss cannot be simulated")
    library = tmp_path_factory.mktemp("shim") / "powerloss.so"
    source = Path(__file__).with_name("powerloss.c")
    subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-o", library, source, "-ldl"], check=True)
    return library


def lose_power(root: Path, log: Path, how: str) -> int:
    """Cut every file back to what was synced; a file that never was becomes empty, or vanishes. Returns how many."""
    durable: dict[int, int] = {}
    synced_before = 0
    for line in log.read_text().splitlines():
        kind, *numbers = line.split()
        if kind == "F":
            durable[int(numbers[0])] = int(numbers[1])
        else:
            synced_before = max(synced_before, int(numbers[0]))
    lost = 0
    for path in [p for p in root.rglob("*") if (p.is_file() and p.suffix != ".log") or p.parent.name == ".spool"]:
        about = path.stat()
        keep = durable.get(about.st_ino, 0)
        if keep == 0 and about.st_mtime_ns < synced_before:
            continue
        if keep < about.st_size:
            lost += 1
            if keep == 0 and how == "gone":
                path.unlink()
            else:
                os.truncate(path, keep)
    return lost


@pytest.mark.parametrize("how", ["empty", "gone"])
@pytest.mark.parametrize("spool", ["100000000", "300000"])
def test_i1_acknowledged_segments_survive_a_power_loss(how, spool, topology, new_store, shim, tmp_path):
    log = tmp_path / "synced"
    extra = {"SYNC_LOG": str(log), "LD_PRELOAD": str(shim), "SPOOL_SIZE": spool, "HOUSEKEEPING": "0.2"}
    store = new_store(topology, **extra)
    first = post_all(store.url("/sendF"), bodies(300), 16)
    assert store.cleanall().status == 201
    timer = threading.Timer(1.5, lambda: [p.kill() for p in (store.writer, store.ingest)])
    timer.start()
    sent = post_all(store.url("/sendF"), bodies(30_000, 300), 32, stop=lambda: not timer.is_alive())
    timer.join()
    acked = {s.name: s.body for s in sent if s.status == 201}
    assert len(acked) > 100
    store.stop()
    assert lose_power(store.root, log, how) > 0
    log.unlink()
    store.start()
    (archive,) = store.archives()
    assert sorted(check_archive(archive).values()) == sorted(s.body for s in first)
    store.check_exact()
    files = store.files()
    assert all(files.get(name) == body for name, body in acked.items())
