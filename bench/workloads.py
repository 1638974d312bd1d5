"""The loads for a running store and, in turn, for a peer."""

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
    """One kind of request, over a number of connections."""

    route: str
    connections: int
    payload: bytes = b""
    says: str = ""  # text in a good response

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
    """Another server with the same routes; `api` is the base URL of its /streamdata, "" if it has none."""

    url: str = ""
    api: str = ""
    clean: bool = False

    def serving(self, route: str) -> str:
        """The URL of `route` there; "" if it is not served."""
        base = self.api if route == "/streamdata" else self.url
        return base.rstrip("/") + route if base else ""

    def cleanall(self) -> None:
        """Archive the peer's batch if `clean` is set; its response is ignored."""
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
    """The row of one load. Store and peer begin in turn, and a sync in between separates their dirty pages.

    The limit that bounds the load is measured just before it. A pair in which the peer stored nothing has no ratio.
    """
    ours: list[Figures] = []
    theirs: list[Figures] = []
    bounds: list[tuple[str, float]] = []

    def own() -> None:
        bounds.append(_bound(load, limits))
        before = store.stat()["n_itm"]
        os.sync()
        ours.append(measure(store.url(load.route), load.connections, seconds, load.payload, load.says))
        if load.payload:  # an acknowledgement without a segment must not be measured
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
    """The number of failed requests; empty if there is none, so that no figure is printed."""
    failed = sum(figures.bad for figures in loads)
    return [failed] if failed else []


def _bound(load: Load, limits: Limits) -> tuple[str, float]:
    """The limit that bounds this load, and the requests a second that it allows."""
    if not load.payload:
        return limits.measure(HELLO)
    if load.connections == 1:
        return limits.measure(FLOOR if load.payload is SHORT else LONG_FLOOR)
    if load.payload is SHORT:
        return limits.measure(APPENDED, MADE)
    name, mb = limits.measure(MB_APPENDED, MB_MADE)
    return name, mb * 1e6 / len(load.payload)
