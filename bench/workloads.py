"""The loads that are put on a running store, and on a peer in turn."""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass
from typing import NamedTuple

import urllib3

from bench.baselines import APPENDED, FLOOR, HELLO, LONG_FLOOR, MADE, MB_APPENDED, MB_MADE, Limits, size_of
from bench.generator import LONG, NOTE, SHORT, Figures, measure
from bench.report import Report, Row
from tests.support.servers import Store, http

PAIRS = 3


class Load(NamedTuple):
    """One kind of request, over so many connections at once."""

    route: str
    connections: int
    payload: bytes = b""
    says: str = ""  # what a good answer contains

    def row(self, topology: str) -> str:
        """The name of its row."""
        size = f" {size_of(self.payload)}" if self.payload else ""
        return f"{topology} {self.route}{size} x {self.connections}"


LOADS = [
    *(Load("/sendF", n, SHORT, "RES_CREATE") for n in (1, 16, 64, 256)),
    *(Load("/sendF", n, LONG, "RES_CREATE") for n in (1, 16, 64, 256)),
    *(Load("/streamdata", n, SHORT, "CREATED") for n in (1, 16, 64)),
    Load("/stat", 16),
]


@dataclass(frozen=True)
class Peer:
    """Another server with the same routes; `api` is where it serves /streamdata, "" if it does not or there is none."""

    url: str = ""
    api: str = ""
    clean: bool = False

    def serving(self, route: str) -> str:
        """Where it serves `route`; "" if it does not."""
        base = self.api if route == "/streamdata" else self.url
        return base.rstrip("/") + route if base else ""

    def cleanall(self) -> None:
        """File its batch away if that was asked for; what it answers, or whether, is its own affair."""
        if self.url and self.clean:
            with contextlib.suppress(urllib3.exceptions.HTTPError):
                http.request("POST", self.serving("/cleanall"), body=b"{}", timeout=120)


def run(store: Store, peer: Peer, seconds: float, limits: Limits, report: Report) -> None:
    """Every load on one topology."""
    peer.cleanall()
    for load in LOADS:
        report.add(_measure(load, store, peer.serving(load.route), seconds, limits))
        store.cleanall(timeout=120)


def _measure(load: Load, store: Store, peer: str, seconds: float, limits: Limits) -> Row:
    """The row of one load. Who begins alternates, and the disk is synced in between: nobody pays for another's pages.

    What bounds the load is measured right before it. A pair in which the peer stored nothing has no ratio.
    """
    ours: list[Figures] = []
    theirs: list[Figures] = []
    bounds: list[tuple[str, float]] = []

    def own() -> None:
        bounds.append(_bound(load, limits))
        before = store.stat()["n_itm"]
        os.sync()
        ours.append(measure(store.url(load.route), load.connections, seconds, load.payload, load.says))
        if load.payload:  # else a figure would be of something that did not happen
            assert store.stat()["n_itm"] >= before + ours[-1].good, "acknowledged, but not counted"

    def other() -> None:
        if peer:
            os.sync()
            theirs.append(measure(peer, load.connections, seconds, load.payload, load.says))

    for pair in range(PAIRS):
        for act in (own, other) if pair % 2 == 0 else (other, own):
            act()
    return Row(
        load.row(store.topology) + NOTE,
        [figures.rate for figures in ours],
        "/s",
        shares=[figures.rate / limit for figures, (_, limit) in zip(ours, bounds, strict=True)],
        of=bounds[-1][0],
        ratios=[figures.rate / other.rate for figures, other in zip(ours, theirs, strict=False) if other.rate],
        others={
            "p50 ms": [figures.p50 for figures in ours],
            "p99 ms": [figures.p99 for figures in ours],
            "MB/s": [figures.rate * len(load.payload) / 1e6 for figures in ours if load.payload],
            "failed": _failed(ours),
            "peer /s": [figures.rate for figures in theirs],
            "peer p50 ms": [figures.p50 for figures in theirs],
            "peer p99 ms": [figures.p99 for figures in theirs],
            "peer failed": _failed(theirs),
        },
    )


def _failed(loads: list[Figures]) -> list[float]:
    """How many requests failed in all; empty if none did, and then nothing is shown."""
    failed = sum(figures.bad for figures in loads)
    return [failed] if failed else []


def _bound(load: Load, limits: Limits) -> tuple[str, float]:
    """The limit that bounds this load, and how many of its requests a second it allows."""
    if not load.payload:
        return limits.measure(HELLO)
    if load.connections == 1:
        return limits.measure(FLOOR if load.payload is SHORT else LONG_FLOOR)
    if load.payload is SHORT:
        return limits.measure(APPENDED, MADE)
    name, mb = limits.measure(MB_APPENDED, MB_MADE)
    return name, mb * 1e6 / len(load.payload)
