"""Measures blocks: channel-segments a second beside single segments, and bytes a second beside the disk.

    python -m bench.blocks [--seconds 2]

`python -m bench` measures them too.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from functools import partial
from pathlib import Path

from bench.baselines import long_append, spread
from bench.generator import NOTE, SHORT, Figures, measure
from bench.report import Report, Row
from tests.support import ROOT
from tests.support.blocks import ARROW, arrow_block
from tests.support.servers import Store

PAIRS = 3
CHANNELS, SINGLE = 100, "single segments x 64"
MANY, WIDE = f"blocks of {CHANNELS} x 300 samples", "blocks of 240 x 4096 float64"
APPENDED = "8 MB appended and synced"


def row(topology: str, what: str, connections: int) -> str:
    """The name of a row."""
    return f"{topology} {what} x {connections}{NOTE}"


def run(store: Store, folder: Path, seconds: float, report: Report) -> None:
    """The rows of one topology. Each is measured beside what it is compared with, in turn."""
    send = partial(_load, store, seconds)
    small, wide = arrow_block(CHANNELS, 300), arrow_block(240, 4096)
    for connections in (1, 16):
        pairs = [(send(SHORT, 64, "application/json"), send(small, connections, ARROW)) for _ in range(PAIRS)]
        report.add(
            Row(
                row(store.topology, MANY, connections),
                [CHANNELS * block.rate for _, block in pairs],
                "channel-segments/s",
                ratios=[CHANNELS * block.rate / single.rate for single, block in pairs],
                others={**_figures([block for _, block in pairs], small), SINGLE: [one.rate for one, _ in pairs]},
            )
        )
        store.cleanall(timeout=120)
    for connections in (1, 4):
        limits, loads = [], []
        for _ in range(PAIRS):
            os.sync()
            limits.append(long_append(folder, wide))
            os.sync()
            loads.append(send(wide, connections, ARROW))
        values = [load.rate * len(wide) / 1e6 for load in loads]
        shares = [value / limit for value, limit in zip(values, limits, strict=True)]
        name = row(store.topology, WIDE, connections)
        report.add(Row(name, values, "MB/s", shares, APPENDED, others=_figures(loads, wide)))
        store.cleanall(timeout=120)


def _load(store: Store, seconds: float, payload: bytes, connections: int, type: str) -> Figures:
    before = store.stat()["n_itm"]
    os.sync()
    figures = measure(store.url("/sendF"), connections, seconds, payload, "RES_CREATE", type)
    assert store.stat()["n_itm"] >= before + figures.good, "acknowledged, but not counted"
    return figures


def _figures(loads: list[Figures], payload: bytes) -> dict[str, list[float]]:
    return {
        "p50 ms": [load.p50 for load in loads],
        "p99 ms": [load.p99 for load in loads],
        "MB/s": [load.rate * len(payload) / 1e6 for load in loads],
        "failed": [load.bad for load in loads if load.bad],
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=2, help="of each load")
    parser.add_argument("--topology", default="embedded,split")
    asked = parser.parse_args()
    report = Report()
    build = ROOT / "build"
    build.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="bench-", dir=build) as place:
        spread(Path(place))
        for topology in asked.topology.split(","):
            with Store(topology, Path(place) / topology, HOUSEKEEPING="10") as store:
                run(store, Path(place), asked.seconds, report)


if __name__ == "__main__":
    main()
