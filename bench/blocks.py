"""Measures blocks: channel-segments a second beside single segments, and bytes a second beside the disk.

    python -m bench.blocks [--seconds 2] [--topology embedded,split] [--realtime 60] [--peer http://host:port/]

Every bar of blocks, of the clients that send them, and of the reads that were slow beside a peer. `python -m bench`
measures the rates too.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import tempfile
from pathlib import Path

from bench import block_clients, block_load, reads
from bench.baselines import long_append, spread
from bench.generator import NOTE, SHORT, Figures, measure
from bench.report import Report, Row
from tests.support import ROOT
from tests.support.blocks import ARROW, arrow_block
from tests.support.servers import Store

PAIRS = 3
_LONG = 1 << 20  # bytes
WINDOWS = 8  # of the disk and of the store in turn
CHANNELS, SINGLE = 100, "single segments x 64"
MANY, WIDE = f"blocks of {CHANNELS} x 300 samples", "blocks of 240 x 4096 float64"
APPENDED = "8 MB appended and synced, before and after each load"


def row(topology: str, what: str, connections: int) -> str:
    """The name of a row."""
    return f"{topology} {what} x {connections}{NOTE}"


def run(store: Store, folder: Path, seconds: float, report: Report) -> None:
    """The rates of one topology. Each is measured beside what it is compared with, in turn."""
    small, wide = arrow_block(CHANNELS, 300), arrow_block(240, 4096)
    for connections in (1, 16):
        pairs = [
            (load(store, seconds, SHORT, 64, "application/json"), load(store, seconds, small, connections, ARROW))
            for _ in range(PAIRS)
        ]
        report.add(
            Row(
                row(store.topology, MANY, connections),
                [CHANNELS * block.rate for _, block in pairs],
                "channel-segments/s",
                ratios=[CHANNELS * block.rate / single.rate for single, block in pairs],
                others={**_figures([block for _, block in pairs], small), SINGLE: [one.rate for one, _ in pairs]},
            )
        )
        _forget(store)
    for connections in (1, 4):
        report.add(_beside_the_disk(store, folder, wide, connections))
        _forget(store)
    if store.topology == "embedded":
        block_clients.add_rows(store, folder, report)


def _forget(store: Store) -> None:
    """Remove the long blocks that were stored: they fill a disk in a minute. Many files removed slow the next rows."""
    store.cleanall(timeout=120)
    for archive in store.archives():
        for path in archive.glob("gwb*"):  # not the journal, which may be long too
            if path.stat().st_size > _LONG:
                path.unlink()


def load(store: Store, seconds: float, payload: bytes, connections: int, type: str) -> Figures:
    """A load whose acknowledgements are counted."""
    before = store.stat()["n_itm"]
    os.sync()
    figures = measure(store.url("/sendF"), connections, seconds, payload, "RES_CREATE", type)
    assert store.stat()["n_itm"] >= before + figures.good, "acknowledged, but not counted"
    return figures


def _beside_the_disk(store: Store, folder: Path, payload: bytes, connections: int) -> Row:
    """Short windows of the disk and of the store in turn, because the disk's rate changes by half within seconds.

    The limit of a load is the mean of the one before it and the one after it.
    """

    def limit() -> float:
        os.sync()
        return long_append(folder, payload, seconds=0.5)

    limits, loads = [limit()], []
    for _ in range(WINDOWS):
        loads.append(load(store, 1, payload, connections, ARROW))
        limits.append(limit())
    values = [one.rate * len(payload) / 1e6 for one in loads]
    shares = [2 * value / (limits[i] + limits[i + 1]) for i, value in enumerate(values)]
    name = row(store.topology, WIDE, connections)
    return Row(name, values, "MB/s", shares, APPENDED, others={**_figures(loads, payload), "disk MB/s": limits})


def _figures(loads: list[Figures], payload: bytes) -> dict[str, list[float]]:
    return {
        "p50 ms": [load.p50 for load in loads],
        "p99 ms": [load.p99 for load in loads],
        "MB/s": [load.rate * len(payload) / 1e6 for load in loads],
        "failed": [load.bad for load in loads if load.bad],
    }


def main() -> None:
    """Measure, and print the rows and the bars."""
    from bench import targets

    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=2, help="of each load")
    parser.add_argument("--topology", default="embedded,split")
    parser.add_argument("--realtime", type=int, default=60, help="seconds of the load in real time")
    parser.add_argument("--peer", default="", help="another server with the same routes, and a long list of names")
    asked = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that servers are stopped and files removed
    report = Report()
    build = ROOT / "build"
    build.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="bench-", dir=build) as place:
        spread(Path(place))
        for topology in asked.topology.split(","):
            with Store(topology, Path(place) / topology, HOUSEKEEPING="10") as store:
                run(store, Path(place), asked.seconds, report)
            block_load.add_rows(topology, Path(place), asked.realtime, report)
            reads.add_rows(topology, Path(place) / f"{topology}-reads", asked.peer.rstrip("/"), asked.seconds, report)
        targets.show(targets.of_blocks(report))


if __name__ == "__main__":
    main()
