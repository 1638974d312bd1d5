"""What blocks cost: a thousand channels in real time, and ingest's memory with four long blocks under way."""

from __future__ import annotations

import os
import struct
import time
from pathlib import Path

import pyarrow as pa
import urllib3

from bench.generator import measure
from bench.processes import cpu_seconds, resident
from bench.report import Report, Row
from tests.support.blocks import ARROW, NS, T0, arrow_block, field, stream
from tests.support.servers import Store

CHANNELS, RATE = 1000, 4096
REALTIME = f"{CHANNELS:,} channels x 1 s x {RATE} Hz float32, a block a second"
MEMORY = "resident memory of ingest at its peak, four blocks of 33 MB under way"
P99, SHARE = "99th percentile of an acknowledgement", "processor time of one core"


def name(topology: str, what: str, of: str = "") -> str:
    """The name of a row."""
    return f"{topology} {what}{f': {of}' if of else ''}"


def add_rows(topology: str, folder: Path, seconds: int, report: Report) -> None:
    """The rows of one topology, each on a store of its own."""
    with Store(topology, folder / f"{topology}-realtime", HOUSEKEEPING="10") as store:
        _realtime(store, seconds, report)
    for what, own in ((MEMORY, {"MAX_BODIES": str(160 << 20)}), (f"{MEMORY}, as by default", {})):
        with Store(topology, folder / f"{topology}-memory{len(own)}", HOUSEKEEPING="10", **own) as store:
            _memory(store, what, report)


def _realtime(store: Store, seconds: int, report: Report) -> None:
    """A block each second, whether the one before is acknowledged or not; it is then late."""
    fields = [field(f"V1:CH_{index}", pa.float32()) for index in range(CHANNELS)]
    body = bytearray(stream(fields, [[T0 * NS, *([[index * 1e-3] * RATE for index in range(CHANNELS)])]]))
    at = body.index(struct.pack("<q", T0 * NS))
    http = urllib3.PoolManager(timeout=30, retries=False)
    os.sync()
    before, began = cpu_seconds(store), time.perf_counter()
    taken = []
    for second in range(seconds):
        struct.pack_into("<q", body, at, (T0 + second) * NS)
        due = began + second + 1
        time.sleep(max(0.0, due - time.perf_counter()))
        answer = http.request("POST", store.url("/sendF"), body=bytes(body), headers={"Content-Type": ARROW})
        assert answer.status == 201, answer.data
        taken.append((time.perf_counter() - due) * 1e3)  # since the last sample was there
    elapsed = time.perf_counter() - began
    taken.sort()
    p50, p99 = taken[len(taken) // 2], taken[min(len(taken) * 99 // 100, len(taken) - 1)]
    report.add(Row(name(store.topology, REALTIME, P99), [p99], "ms", others={"p50 ms": [p50], "slowest": [taken[-1]]}))
    share = 100 * (cpu_seconds(store) - before) / elapsed
    report.add(Row(name(store.topology, REALTIME, SHARE), [share], "%"))


def _memory(store: Store, what: str, report: Report) -> None:
    block = arrow_block(CHANNELS, RATE)
    measure(store.url("/sendF"), 1, 1, arrow_block(3, 300), "RES_CREATE", ARROW)
    idle, _ = resident(store.ingest.process.pid)
    load = measure(store.url("/sendF"), 4, 6, block, "RES_CREATE", ARROW)
    peak = max(resident(pid)[1] for pid in (store.ingest.process.pid, *store.ingest.children()))
    others: dict[str, list[float]] = {"idle MB": [idle], "stored": [load.good], "failed": [load.bad]}
    report.add(Row(name(store.topology, what), [peak], "MB", others=others))
