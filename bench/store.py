"""Measures the store itself: requests, lists, freeze, cleanall, recovery and memory, beside the machine's limits.

    python bench/store.py [--seconds 4] [--sizes 1000,100000,1000000] [--peer http://127.0.0.1:9200/] [--json out.json]

With a peer (another server with the same routes) each load is put on both in turn, three times, and the ratios are
given pair by pair. Absolute figures of a shared machine mean little; shares and ratios do.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from bench.limits import limits
from bench.load import NOTE, Figures, body, measure
from shared.config import from_env
from shared.spool import Place, Spool
from shared.submission import Submission
from shared.volume import Volume
from shared.writer import Writer
from tests.harness import ROOT, Store, free_port, http, segment

rows: list[dict[str, object]] = []


def row(what: str, value: float, unit: str, **more: object) -> None:
    """Print a row of the table, and keep it for the JSON."""
    rows.append({"what": what, "value": value, "unit": unit, **more})
    extra = ", ".join(f"{name} {number}" for name, number in more.items())
    print(f"| {what} | {value:,.4g} {unit} | {extra} |", flush=True)


def loads(store: Store, peer: str, seconds: float, bounds: dict[str, float]) -> None:
    """Every load on one topology, with the peer in turn where it has the route."""
    bodies = {"7 kB": body(300), "390 kB": body(16384)}
    plan: list[tuple[str, str, int, bytes | None]] = [
        *(("/sendF", size, n, payload) for size, payload in bodies.items() for n in (1, 16, 64, 256)),
        *(("/streamdata", "7 kB", n, bodies["7 kB"]) for n in (1, 16, 64)),
        ("/stat", "", 16, None),
    ]
    for route, size, connections, payload in plan:
        ours = store.url(route)
        pairs = []
        for _ in range(3 if peer and route != "/streamdata" else 1):
            theirs = None
            if peer and route != "/streamdata":
                theirs = measure(peer.rstrip("/") + route, connections, seconds, payload)
            pairs.append((measure(ours, connections, seconds, payload), theirs))
        report(f"{store.topology} {route} {size} x {connections}", payload, pairs, bounds)
        store.cleanall()


def report(what: str, payload: bytes | None, pairs: list[tuple[Figures, Figures | None]], bounds: dict) -> None:
    """One load's row: rate, latencies, share of the limit, ratios to the peer."""
    ours = [own for own, _ in pairs]
    rate = statistics.median(own.rate for own in ours)
    more: dict[str, object] = {
        "p50": f"{statistics.median(own.p50 for own in ours):.2f} ms",
        "p99": f"{statistics.median(own.p99 for own in ours):.2f} ms",
    }
    if payload and len(payload) < 10_000:
        more["of the files the machine makes"] = f"{rate / bounds['files made, no sync']:.0%}"
    elif payload:
        more["MB/s"] = f"{rate * len(payload) / 1e6:.0f}"
    else:
        more["of the framework's hello"] = f"{rate / bounds['hello']:.0%}"
    if ratios := [own.rate / other.rate for own, other in pairs if other]:
        more["x peer"] = " ".join(f"{ratio:.2f}" for ratio in ratios)
        more["peer p50"] = f"{statistics.median(other.p50 for _, other in pairs if other):.2f} ms"
    if bad := sum(own.bad for own in ours):
        more["refused"] = bad
    row(what + NOTE, rate, "/s", **more)


def hello(seconds: float) -> float:
    """The framework's own asynchronous hello, through its own application and our server's settings."""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "main.py").write_text(
            "import functions_framework.aio\n@functions_framework.aio.http\n"
            "async def hello(request):\n    return 'hi'\n"
        )
        port = free_port()
        code = (
            "import functions_framework.aio as f, uvicorn;"
            f"uvicorn.run(f.create_asgi_app('hello', {folder + '/main.py'!r}, 'http'), port={port}, access_log=False,"
            "log_level='error', loop='uvloop', http='httptools')"
        )
        process = subprocess.Popen([sys.executable, "-c", code])
        try:
            wait(lambda: http.request("GET", f"http://127.0.0.1:{port}/").status == 200)
            return measure(f"http://127.0.0.1:{port}/", 16, seconds).rate
        finally:
            process.terminate()
            process.wait()


def wait(condition: Callable[[], bool]) -> float:
    """Seconds until `condition` holds."""
    start = time.perf_counter()
    while time.perf_counter() - start < 120:
        try:
            if condition():
                return time.perf_counter() - start
        except Exception:
            time.sleep(0.005)
    raise TimeoutError


def fill(root: Path, count: int) -> tuple[float, float]:
    """Store `count` small segments through spool and writer; records/s of the decisions alone, and of the whole."""
    config = from_env({"ROOT": str(root)})
    writer = Writer(config)
    writer.open()
    spool = Spool(Volume(config))
    payload = segment(1)
    deciding, start = 0.0, time.perf_counter()
    for first in range(0, count, 256):
        places = spool.store([payload] * min(256, count - first))
        group = [Submission(*place, t0=1e9, dt=1.0, n=1) for place in places if isinstance(place, Place)]
        before = time.perf_counter()
        writer.commit(group)
        deciding += time.perf_counter() - before
    whole = time.perf_counter() - start
    spool.close()
    writer.close()
    return count / deciding, count / whole


def core(folder: Path) -> float:
    """Records a second the writer decides, in batches of 256, journal syncs included, on one thread; no files."""

    class Records(Writer):
        """The writer without the making of files, which ingest's staging pays for elsewhere."""

        def _accepts(self, spool: str) -> bool:
            return True

    writer = Records(from_env({"ROOT": str(folder / "core")}))
    writer.open()
    writer.publisher.files = lambda records: list(records) and None  # type: ignore[method-assign]
    batches = [[Submission("0" * 16, (b * 256 + i) * 100, 100, 0) for i in range(256)] for b in range(400)]
    start = time.perf_counter()
    for batch in batches:
        writer.commit(batch)
    return 256 * len(batches) / (time.perf_counter() - start)


def at_size(folder: Path, count: int) -> None:
    """Lists, restarts, memory, freeze and cleanall with this many segments in the batch."""
    root = folder / f"size{count}"
    decided, whole = fill(root, count)
    row(f"{count:,} segments: decisions, files renamed, in batches of 256", decided, "/s", whole=f"{whole:,.0f} /s")
    store = Store("embedded", root)
    process = store.writer
    start = time.perf_counter()
    process.start("/health/readiness")
    row(f"{count:,} segments: start after a clean stop", time.perf_counter() - start, "s")
    store.stored(segment(2))
    process.kill()
    start = time.perf_counter()
    process.start("/health/readiness")
    row(f"{count:,} segments: start after SIGKILL", time.perf_counter() - start, "s")
    middle = store.names(f"?limit=1&after=gwb{0:019}.json")[0]
    for what, query in (("/dumpF, a page of 100", f"?limit=100&after={middle}"), ("/dumpF, whole", "")):
        row(f"{count:,} segments: {what}", timed(lambda q=query: store.request("GET", "/dumpF", query=q)), "ms")
    row(f"{count:,} segments: /dumpLogF, whole", timed(lambda: store.request("GET", "/dumpLogF")), "ms")
    row(f"{count:,} segments: resident memory", resident(process.process.pid), "MB")
    row(f"{count:,} segments: freeze", timed(store.freeze), "ms")
    row(f"{count:,} segments: cleanall", timed(store.cleanall), "ms")
    store.stop()


def resident(pid: int) -> float:
    """Resident memory of a process, MB."""
    (line,) = [x for x in Path(f"/proc/{pid}/status").read_text().splitlines() if x.startswith("VmRSS")]
    return int(line.split()[1]) / 1024


def timed(act: Callable[[], object]) -> float:
    """Milliseconds that `act` takes."""
    start = time.perf_counter()
    act()
    return (time.perf_counter() - start) * 1e3


def main() -> None:
    """Measure, print, write JSON."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=4)
    parser.add_argument("--sizes", default="1000,100000,1000000")
    parser.add_argument("--peer", default="")
    parser.add_argument("--json", default="")
    arguments = parser.parse_args()
    print("| what | median | |\n|---|---|---|")
    with tempfile.TemporaryDirectory(prefix="bench-", dir=ROOT) as place:
        folder = Path(place)
        bounds = limits(folder)
        bounds["hello"] = hello(arguments.seconds)
        for what, value in bounds.items():
            row(f"limit: {what}", value, "/s")
        row("writer core, batches of 256, syncs included", core(folder), "records/s")
        for topology in ("embedded", "split"):
            own = {"MAX_SIZE": "1000000000000", "HOUSEKEEPING": "10"}
            with Store(topology, folder / topology, upper=True, **own) as store:
                loads(store, arguments.peer, arguments.seconds, bounds)
        for size in filter(None, arguments.sizes.split(",")):
            at_size(folder, int(size))
    if arguments.json:
        Path(arguments.json).parent.mkdir(exist_ok=True)
        Path(arguments.json).write_text(json.dumps({"cpus": os.cpu_count(), "rows": rows}, indent=1))


if __name__ == "__main__":
    main()
