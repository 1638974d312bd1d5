"""Measures the store: requests, lists, freeze, cleanall, restarts and memory, beside the machine's limits and a peer.

    python -m bench [--seconds 2] [--sizes 1000,100000,1000000] [--json out.json]
                    [--peer http://host:port/ [--peer-api http://host:port/] [--peer-clean]]

With a peer (another server with the same routes) each load is put on both in turn. On a shared machine, shares of a
limit and ratios mean more than absolute figures. The exit code is 0 however many bars are reached.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import tempfile
import time
from pathlib import Path

from bench import blocks, cold_start, scaling, targets, workloads
from bench.baselines import RECORDS, Limits, spread
from bench.generator import NOTE
from bench.populate import core
from bench.report import Report, Row
from tests.support import ROOT
from tests.support.extras import STRAIN
from tests.support.servers import Store


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=2, help="of each load")
    parser.add_argument("--sizes", default="1000,100000,1000000", help="segments in a batch")
    parser.add_argument("--peer", default="", help="another server with the same routes")
    parser.add_argument("--peer-api", default="", help="where the peer serves /streamdata")
    parser.add_argument("--peer-clean", action="store_true", help="POST /cleanall to the peer, once per topology")
    parser.add_argument("--json", default="")
    return parser.parse_args()


def run(asked: argparse.Namespace, folder: Path, limits: Limits, report: Report) -> None:
    """All measurements; the limits are measured at the beginning, between them, and at the end."""
    peer = workloads.Peer(asked.peer, asked.peer_api, asked.peer_clean)
    limits.all()
    cold_start.add_row(folder / "cold", report)
    for topology in ("embedded", "split"):
        own = {"MAX_SIZE": "1000000000000", "HOUSEKEEPING": "10"}
        with Store(topology, folder / topology, upper=True, **own) as store:
            workloads.run(store, peer, asked.seconds, limits, report)
            blocks.run(store, folder, asked.seconds, report)
        limits.all()
    _core(folder / "core", limits, report)
    scaling.empty(folder / "empty", report)
    counts = sorted(int(size) for size in asked.sizes.split(",") if size)
    for count in counts:
        scaling.at_size(folder / f"size{count}", count, limits, report, memory=count == counts[-1])
    if counts:
        scaling.at_size(folder / "keys", counts[-1], limits, report, keys=True, memory=True)
    limits.all()


def _core(folder: Path, limits: Limits, report: Report) -> None:
    pairs = [(limits.measure(RECORDS)[1], core(folder)) for _ in range(5)]
    values, shares = [value for _, value in pairs], [value / limit for limit, value in pairs]
    report.add(Row("writer core, batches of 256, syncs included", values, "records/s", shares, RECORDS))


def main() -> None:
    """Measure, print, write JSON."""
    asked = arguments()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that servers are stopped and files removed
    began = time.monotonic()
    strain = "real strain" if any(STRAIN.glob("L-L1_LOSC_4_V2-*.hdf5")) else "noise, no strain is present"
    print(f"{os.cpu_count()} CPUs; {strain}; {asked.seconds:g} s a load, {workloads.PAIRS} of each{NOTE}\n")
    report = Report()
    build = ROOT / "build"
    build.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="bench-", dir=build) as place:  # removing millions of files takes minutes
        spread(Path(place))
        limits = Limits(Path(place))
        run(asked, Path(place), limits, report)
        limits.add_rows(report)
        reached = targets.all_of_them(report)
        targets.show(reached)
        if asked.json:
            took = time.monotonic() - began
            verdicts = [{**bar._asdict(), "reached": bar.reached if bar.values else None} for bar in reached]
            about = {"cpus": os.cpu_count(), "payload": strain, "load": NOTE or "wrk", "seconds": took}
            Path(asked.json).parent.mkdir(exist_ok=True)
            Path(asked.json).write_text(json.dumps({**about, "rows": report.json(), "bars": verdicts}, indent=1))


if __name__ == "__main__":
    main()
