"""I1-I8: a process is killed at every named place of the write path, restarted, and nothing is lost or doubled."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator

import pytest
import urllib3

from shared.failpoints import NAMES
from tests.support.blocks import arrow_block
from tests.support.builders import segment
from tests.support.checks import check_archive, wait_for
from tests.support.event_sink import Sink
from tests.support.load import post_all
from tests.support.servers import Process

OF_INGEST = {name for name in NAMES if name.startswith("spool.")}
OF_STORE = sorted(
    name for name in NAMES if not name.startswith(("preproc.", "dataset.", "archive."))
)  # those of jobs have tests of their own
CASES: list[tuple[str, dict[str, str]]] = [(name, {}) for name in OF_STORE] + [
    (name, {"STAGE_APART": "1"}) for name in sorted(OF_INGEST)
]


def until_done(action):
    """Repeat a request until it is answered 201: what a careful client does."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            answer = action()
            if answer.status == 201:
                return answer
        except urllib3.exceptions.HTTPError:
            pass
        time.sleep(0.02)
    raise AssertionError("no answer")


@contextlib.contextmanager
def revived(process: Process) -> Iterator[list[int]]:
    """Start a process again whenever it has died, as Kubernetes would; how it died each time."""
    deaths: list[int] = []
    over = threading.Event()

    def watch() -> None:
        while not over.wait(0.02):
            if not process.alive:
                deaths.append(process.wait_dead())
                process.start()

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield deaths
    finally:
        over.set()
        thread.join()


@pytest.mark.parametrize(("name", "more"), CASES)
def test_killed_at_every_failpoint(name, more, topology, new_store):
    with Sink() as sink, contextlib.ExitStack() as stack:
        store = new_store(
            topology, start=False, SPOOL_SIZE="1000", HOUSEKEEPING="0.1", K_SINK=sink.url, COMMIT_TIMEOUT="3",
            CHECKPOINT_SIZE="1000", WRITE_ONCE="800", **more,
        )  # fmt: skip
        victim = store.ingest if name in OF_INGEST else store.writer
        times = 1 if name.startswith(("clean", "freeze", "checkpoint")) else 2
        for process in store.processes.values():
            fault = {"FAILPOINTS": f"{name}=kill@{times}"} if process is victim else {}
            process.start(wait="", **fault)  # it may die at once
        deaths = stack.enter_context(revived(victim))

        first = {f"first-{i}": (segment if i % 4 else arrow_block)(3, t0=1000.0 + i) for i in range(24)}
        second = {f"second-{i}": segment(4, t0=2000.0 + i) for i in range(6)}
        acked = {}
        for key, body in first.items():
            acked[key] = until_done(lambda k=key, b=body: store.send(b, {"Idempotency-Key": k})).data
        until_done(lambda: store.freeze(headers={"Idempotency-Key": "freeze"}))
        until_done(lambda: store.cleanall(headers={"Idempotency-Key": "clean"}))
        for key, body in second.items():
            until_done(lambda k=key, b=body: store.send(b, {"Idempotency-Key": k}))
        # every answer is given again, whichever process gives it
        for key, body in first.items():
            again = until_done(lambda k=key, b=body: store.send(b, {"Idempotency-Key": k}))
            assert again.data == acked[key]

        wait_for(lambda: len(sink.facts()) == 2)
        if name.startswith(("trim.", "checkpoint.")):
            wait_for(lambda: deaths)
        assert deaths == [-9], "the failpoint was never reached"
        store.writer.wait()

        (archive,) = store.archives()
        assert sorted(check_archive(archive).values()) == sorted(first.values())
        assert store.check_exact()["n_itm"] == len(second)
        assert sorted(store.files().values()) == sorted(second.values())
        (frozen, about), (cleaned, end) = sink.facts()
        assert (frozen, cleaned) == ("frozen", "cleaned")
        assert about["n_itm"] == end["n_itm"] == len(first)
        assert end["archive"] == archive.name


def test_every_answer_survives_kills_under_load(topology, new_store):
    """I1, I2, I4: 32 connections keep sending while the writer, then ingest, are killed again and again."""
    store = new_store(topology, COMMIT_TIMEOUT="2", SPOOL_SIZE="200000", WRITE_ONCE="2000")
    bodies = [(f"k{i}", (segment if i % 10 else arrow_block)(1 + i % 40, t0=1000.0 + i)) for i in range(3000)]
    finished = threading.Event()

    def chaos():
        while not finished.wait(0.4):
            for process in {store.writer, store.ingest}:
                process.kill()
                process.start()
            finished.wait(0.8)

    thread = threading.Thread(target=chaos)
    thread.start()
    try:
        sent = post_all(store.url("/sendF"), bodies, 32, retry=True)
    finally:
        finished.set()
        thread.join()
    store.writer.wait()
    store.ingest.wait()
    files = store.files()
    assert store.check_exact()["n_itm"] == len(bodies) == len(sent)
    assert all(files[s.name] == s.body for s in sent)
