"""Measurements that may depend on the number of segments: lists, freeze, cleanall, restarts and memory."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from bench.baselines import ALONE, Limits
from bench.generator import SHORT
from bench.populate import fill
from bench.processes import group, resident
from bench.report import Report, Row
from tests.support.load import post_all
from tests.support.servers import Process, Store

THAW = json.dumps({"user": "bench", "token": "bench", "dstatus": "OPERATIONAL"})
STARTS = 3
Shown = Callable[[str], str]  # from a quantity to the name of its row


def name(count: int, what: str, *, keys: bool = False) -> str:
    """The name of a row."""
    return f"{count:,} segments{' with keys' if keys else ''}: {what}"


def empty(folder: Path, report: Report) -> None:
    """Time to start an empty store. The rest of any other start is recovery."""
    store = _store("embedded", folder)
    report.add(Row("empty store: start to ready", _clean_starts(store), "s"))
    store.stop()


def at_size(folder: Path, count: int, limits: Limits, report: Report, *, keys: bool = False, memory: bool) -> None:
    """Rows of a batch of `count`, embedded; with `keys`, those that keys affect; memory in both topologies."""
    shown = partial(name, count, keys=keys)
    rate, middle = fill(folder, count, keys=keys)
    report.add(Row(shown("filled by the library, batches of 256"), [rate], "/s"))
    store = _store("embedded", folder)
    try:
        _restarts(store, count, shown, report)
        if not keys:
            _lists(store, count, middle, shown, report)
            _freeze(store, shown, limits, report)
        if memory:
            _drain_lists(store)
            _memory(store, shown, report)
            store.stop()
            with _store("split", folder) as split:
                split.stored(SHORT)
                _drain_lists(split)
                _memory(split, shown, report)
            store.start()
        times = 5 if count < 10_000 else 1 if keys else 3  # filling it again takes a minute per million
        _cleanall(store, count, times, lambda: fill(folder, count, keys=keys), shown, report)
    finally:
        store.stop()


def _store(topology: str, folder: Path) -> Store:
    return Store(topology, folder, HOUSEKEEPING="10")


def _restarts(store: Store, count: int, shown: Shown, report: Report) -> None:
    """From exec to /health/readiness 200, with a warm page cache."""
    report.add(Row(shown("start after a clean stop"), _clean_starts(store), "s"))
    killed = []
    for _ in range(STARTS):
        bodies = [("", SHORT)] * min(count // 10, 5000)  # in the spool, still untrimmed: recovery compares them
        assert {sent.status for sent in post_all(store.url("/sendF"), bodies)} == {201}
        store.writer.kill()
        killed.append(_start(store.writer))
    report.add(Row(shown("start after SIGKILL"), killed, "s"))


def _lists(store: Store, count: int, middle: str, shown: Shown, report: Report) -> None:
    for what, query in (("first page of 100", "?limit=100"), ("a page of 100 from the middle", "?limit=100&after=")):
        after = middle if query.endswith("=") else ""
        times = [_drain(store, "/dumpF", query + after)[0] for _ in range(25)]
        report.add(Row(shown(f"/dumpF, {what}"), times, "ms"))
    for route in ("/dumpF", "/dumpLogF"):
        answers = [_drain(store, route) for _ in range(5 if count < 100_000 else 2)]
        rates = [size / 1e3 / ms for ms, size in answers]
        report.add(Row(shown(f"{route}, whole"), [ms for ms, _ in answers], "ms", others={"MB/s": rates}))


def _memory(store: Store, shown: Shown, report: Report) -> None:
    """Resident memory of each function's largest process, now and at its peak."""
    for target, process in store.processes.items():
        figures = [resident(pid) for pid in group(process.process.pid)]
        now, peak = max(figures)
        row = Row(shown(f"resident memory, {store.topology} {target}"), [now], "MB", others={"peak MB": [peak]})
        row.others["processes"] = [len(figures)]
        report.add(row)


def _freeze(store: Store, shown: Shown, limits: Limits, report: Report) -> None:
    times, shares = [], []
    for _ in range(3):
        what, alone = limits.measure(ALONE)
        for _ in range(8):
            times.append(_timed(lambda: store.freeze().status))
            shares.append(1e3 / alone / times[-1])
            assert store.request("POST", "/upddsc", THAW).status == 201
    report.add(Row(shown("freeze"), times, "ms", shares, what))


def _cleanall(store: Store, count: int, times: int, refill: Callable[[], object], shown: Shown, report: Report) -> None:
    """Time of cleanall, after a sync: cleanall syncs the volume, and the amount of dirty data depends on the load."""
    taken: list[float] = []
    while len(taken) < times:
        if taken:
            refill()
        assert store.stat()["n_itm"] >= count  # and the store has read what another writer added
        os.sync()
        taken.append(_timed(lambda: store.cleanall(timeout=120).status))
    report.add(Row(shown("cleanall"), taken, "ms"))


def _clean_starts(store: Store) -> list[float]:
    times = []
    for _ in range(STARTS):
        store.stop()
        times.append(_start(store.writer))
    return times


def _start(process: Process) -> float:
    start = time.perf_counter()
    process.start("/health/readiness")
    return time.perf_counter() - start


def _timed(ask: Callable[[], int]) -> float:
    """Milliseconds until a 201."""
    start = time.perf_counter()
    assert ask() == 201
    return (time.perf_counter() - start) * 1e3


def _drain(store: Store, route: str, query: str = "") -> tuple[float, int]:
    """Read a response to its end without keeping it; return milliseconds and bytes."""
    start = time.perf_counter()
    answer = store.request("GET", route, query=query, preload_content=False, timeout=300)
    size = sum(map(len, answer.stream(1 << 20)))
    assert answer.status == 200
    answer.release_conn()
    return (time.perf_counter() - start) * 1e3, size


def _drain_lists(store: Store) -> None:
    """Fetch whole lists before memory is measured, so that a server that buffers them shows it."""
    for route in ("/dumpF", "/dumpLogF"):
        _drain(store, route)
