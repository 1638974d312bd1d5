"""Measures how long an ingest process takes from exec to its first 201, with a writer already running, as one row."""

from __future__ import annotations

import contextlib
import http.client
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SEGMENT = b'{"h":[1e-21,2e-21,3e-21],"t":[1126259446.0,0.000244140625]}'
ROUNDS = 7


def free_port() -> int:
    """A port nobody listens on."""
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return int(s.getsockname()[1])


@contextlib.contextmanager
def serving(target: str, port: int, **env: str) -> Iterator[None]:
    """A function as a process of its own; on return it has merely been started."""
    own = {"FUNCTION_TARGET": target, "SERVURL": f"127.0.0.1:{port}", "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen([sys.executable, "-m", "shared.serve"], env={**os.environ, **own, **env}, cwd=ROOT)
    try:
        yield
    finally:
        process.terminate()
        process.wait(30)


def wait_for(port: int, method: str, path: str, body: bytes | None, wanted: int) -> None:
    """Ask again and again, a millisecond apart, until the answer is `wanted`."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        try:
            connection.request(method, path, body)
            if connection.getresponse().status == wanted:
                return
        except OSError:
            pass
        finally:
            connection.close()
        time.sleep(0.001)
    raise TimeoutError(f"{path} does not answer {wanted}")


def main() -> None:
    """Start ingest several times and print the row."""
    with tempfile.TemporaryDirectory() as root:
        writer = free_port()
        with serving("writer", writer, ROOT=root):
            wait_for(writer, "GET", "/health/readiness", None, 200)
            times = []
            for _ in range(ROUNDS):
                port = free_port()
                start = time.perf_counter()
                with serving("ingest", port, ROOT=root, WRITER_URL=f"http://127.0.0.1:{writer}"):
                    wait_for(port, "POST", "/sendF", SEGMENT, 201)
                    times.append(time.perf_counter() - start)
    print(f"| cold start of ingest, exec to first 201 | median {statistics.median(times) * 1000:.0f} ms, "
          f"{min(times) * 1000:.0f} to {max(times) * 1000:.0f} ms, {ROUNDS} starts |")  # fmt: skip


if __name__ == "__main__":
    main()
