"""HTTP load for the benchmarks: wrk where it is installed, else a slower generator, and then every row says so."""

from __future__ import annotations

import asyncio
import json
import re
import shutil
import subprocess
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

import numpy

from tests.harness import STRAIN

WRK = shutil.which("wrk")
NOTE = "" if WRK else " (slow generator: install wrk)"
RATE, T0 = 4096, 1126259446


class Figures(NamedTuple):
    """What one load measured: requests a second, latencies in milliseconds, answers that were not 2xx."""

    rate: float
    p50: float
    p99: float
    bad: int


def body(samples: int) -> bytes:
    """A segment of this many samples: real strain where it is present, else noise with as many digits."""
    for path in STRAIN.glob("L-L1_LOSC_4_V2-*.hdf5"):
        import h5py

        with h5py.File(path) as file:
            h = file["strain/Strain"][:samples].tolist()
            break
    else:
        h = numpy.random.default_rng(1).normal(scale=1e-21, size=samples).tolist()
    return json.dumps({"h": h, "t": [float(T0), 1 / RATE]}).encode()


def measure(url: str, connections: int, seconds: float, payload: bytes | None = None) -> Figures:
    """GET `url`, or POST `payload` to it, over so many connections for so long."""
    return (_wrk if WRK else _slow)(url, connections, seconds, payload)


def _wrk(url: str, connections: int, seconds: float, payload: bytes | None) -> Figures:
    with tempfile.TemporaryDirectory() as folder:
        script = Path(folder) / "post.lua"
        (Path(folder) / "body").write_bytes(payload or b"")
        script.write_text(
            f'local f = io.open("{folder}/body", "rb"); wrk.body = f:read("*a"); f:close()\nwrk.method = "POST"\n'
            if payload
            else ""
        )
        command = [WRK, "-t1", f"-c{connections}", f"-d{seconds:.0f}s", "--latency", "-s", str(script), url]
        text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    bad = re.search(r"Non-2xx or 3xx responses: (\d+)", text)
    rate = re.search(r"Requests/sec:\s+([\d.]+)", text)
    assert rate is not None, text
    return Figures(float(rate[1]), _ms(text, "50%"), _ms(text, "99%"), int(bad[1]) if bad else 0)


def _ms(text: str, quantile: str) -> float:
    found = re.search(rf"{quantile}\s+([\d.]+)(us|ms|s)", text)
    assert found is not None, text
    return float(found[1]) * {"us": 1e-3, "ms": 1.0, "s": 1e3}[found[2]]


def _slow(url: str, connections: int, seconds: float, payload: bytes | None) -> Figures:
    host, port, path = re.fullmatch(r"http://([^:/]+):(\d+)(/.*)", url).groups()
    head = f"{'POST' if payload else 'GET'} {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(payload or b'')}\r\n\r\n"
    request = head.encode() + (payload or b"")
    times: list[float] = []
    bad = 0

    async def connection(deadline: float) -> None:
        nonlocal bad
        reader, writer = await asyncio.open_connection(host, int(port))
        while time.monotonic() < deadline:
            start = time.perf_counter()
            writer.write(request)
            answer = await reader.readuntil(b"\r\n\r\n")
            length = re.search(rb"content-length: (\d+)", answer, re.I)
            await reader.readexactly(int(length[1]) if length else 0)
            times.append(time.perf_counter() - start)
            bad += answer[9:10] != b"2"
        writer.close()

    async def run() -> None:
        deadline = time.monotonic() + seconds
        await asyncio.gather(*(connection(deadline) for _ in range(connections)))

    asyncio.run(run())
    times.sort()
    return Figures(len(times) / seconds, times[len(times) // 2] * 1e3, times[len(times) * 99 // 100] * 1e3, bad)
