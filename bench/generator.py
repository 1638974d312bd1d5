"""HTTP load for the benchmarks: wrk if it is installed, else a slower generator, which every row then names."""

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

from tests.support.extras import STRAIN

WRK = shutil.which("wrk")
NOTE = "" if WRK else " (slow generator: install wrk)"
RATE, T0 = 4096, 1126259446

# Reads the body to post. Counts responses without the text of a stored segment's response, whatever their status.
SCRIPT = """
local f = io.open("{folder}/body", "rb"); wrk.body = f:read("*a"); f:close()
wrk.method = "POST"; wrk.headers["Content-Type"] = "{type}"
local one
unlike = 0
function setup(thread) one = thread end
function response(status, headers, body) if not body:find("{says}", 1, true) then unlike = unlike + 1 end end
function done() io.write("Unlike: " .. one:get("unlike") .. "\\n") end
"""


class Figures(NamedTuple):
    """Figures of one load: good responses a second and in total, latencies in milliseconds, failed requests."""

    rate: float
    good: int
    p50: float
    p99: float
    bad: int


def body(samples: int) -> bytes:
    """A segment of this many samples: real strain if it is present, else noise with as many digits."""
    for path in STRAIN.glob("L-L1_LOSC_4_V2-*.hdf5"):
        import h5py

        with h5py.File(path) as file:
            h = file["strain/Strain"][:samples].tolist()
            break
    else:
        h = numpy.random.default_rng(1).normal(scale=1e-21, size=samples).tolist()
    return json.dumps({"h": h, "t": [float(T0), 1 / RATE]}).encode()


SHORT, LONG = body(300), body(16384)


def measure(
    url: str, connections: int, seconds: float, payload: bytes = b"", says: str = "", type: str = "application/json"
) -> Figures:
    """GET `url`, or POST `payload` to it, over `connections` for `seconds`; a good response contains `says`."""
    return (_wrk if WRK else _slow)(url, connections, seconds, payload, says, type)


def _wrk(url: str, connections: int, seconds: float, payload: bytes, says: str, type: str) -> Figures:
    with tempfile.TemporaryDirectory() as folder:
        script = Path(folder) / "post.lua"
        (Path(folder) / "body").write_bytes(payload)
        script.write_text(SCRIPT.format(folder=folder, says=says, type=type) if payload else "")
        command = [str(WRK), "-t1", f"-c{connections}", f"-d{seconds:.0f}s", "--latency", "-s", str(script), url]
        text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    answered = re.search(r"(\d+) requests in ([\d.]+)(ms|s|m)", text)
    assert answered, text
    unlike = re.search(r"Unlike: (\d+)" if payload else r"Non-2xx or 3xx responses: (\d+)", text)
    good = int(answered[1]) - (int(unlike[1]) if unlike else 0)
    lost = sum(map(int, re.findall(r"(?:connect|read|write|timeout) (\d+)", text)))
    took = float(answered[2]) * {"ms": 1e-3, "s": 1, "m": 60}[answered[3]]
    return Figures(good / took, good, _ms(text, "50%"), _ms(text, "99%"), int(answered[1]) - good + lost)


def _ms(text: str, quantile: str) -> float:
    found = re.search(rf"{quantile}\s+([\d.]+)(us|ms|s|m)", text)
    assert found, text
    return float(found[1]) * {"us": 1e-3, "ms": 1.0, "s": 1e3, "m": 6e4}[found[2]]


def _slow(url: str, connections: int, seconds: float, payload: bytes, says: str, type: str) -> Figures:
    parts = re.fullmatch(r"http://([^:/]+):(\d+)(/.*)", url)
    assert parts, url
    host, port, path = parts.groups()
    head = f"{'POST' if payload else 'GET'} {path} HTTP/1.1\r\nHost: {host}:{port}\r\nContent-Type: {type}\r\n"
    request = f"{head}Content-Length: {len(payload)}\r\n\r\n".encode() + payload
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
            content = await reader.readexactly(int(length[1]) if length else 0)
            times.append(time.perf_counter() - start)
            bad += answer[9:10] != b"2" or says.encode() not in content
        writer.close()

    async def run() -> None:
        deadline = time.monotonic() + seconds
        await asyncio.gather(*(connection(deadline) for _ in range(connections)))

    asyncio.run(run())
    times.sort()
    good = len(times) - bad
    return Figures(good / seconds, good, times[len(times) // 2] * 1e3, times[len(times) * 99 // 100] * 1e3, bad)
