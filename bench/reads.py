"""Reads beside a peer: counts, and the whole list of names."""

from __future__ import annotations

import time
from pathlib import Path

from bench.generator import NOTE, measure
from bench.populate import fill
from bench.report import Report, Row
from tests.support.servers import Store, http

PAIRS = 5
NAMES = 100_000
STAT = "/stat x 16"
LIST, FIRST = f"/dumpF whole, {NAMES:,} names", f"/dumpF whole, {NAMES:,} names, the first time"


def name(topology: str, what: str) -> str:
    """The name of a row."""
    return f"{topology} {what}{NOTE if what is STAT else ''}"


def add_rows(topology: str, folder: Path, peer: str, seconds: float, report: Report) -> None:
    """The rows of one topology. A ratio is the store's rate over the peer's.

    The peer's list must be as long for a ratio.
    """
    fill(folder, NAMES)
    with Store(topology, folder, HOUSEKEEPING="10") as store:
        pairs = []
        for _ in range(PAIRS):
            ours = measure(store.url("/stat"), 16, seconds).rate
            pairs.append((ours, measure(f"{peer}/stat", 16, seconds).rate if peer else 0.0))
        _add(report, name(topology, STAT), pairs, "/s")
        first = _lists(store.url("/dumpF"))
        times = [(_lists(store.url("/dumpF")), _lists(f"{peer}/dumpF") if peer else 0.0) for _ in range(PAIRS)]
        _add(report, name(topology, FIRST), [(first, times[0][1])], "lists/s")
        _add(report, name(topology, LIST), times, "lists/s")


def _add(report: Report, what: str, pairs: list[tuple[float, float]], unit: str) -> None:
    ratios = [ours / theirs for ours, theirs in pairs if theirs]
    others = {f"peer {unit}": [theirs for _, theirs in pairs if theirs]}
    report.add(Row(what, [ours for ours, _ in pairs], unit, ratios=ratios, others=others))


def _lists(url: str) -> float:
    """Lists a second, one after another; 0 of a server whose list is shorter than ours."""
    start = time.perf_counter()
    answer = http.request("GET", url, timeout=60)
    taken = time.perf_counter() - start
    return 1 / taken if answer.data.count(b"gwb") >= NAMES else 0.0
