"""Measures how long an ingest process takes from exec to its first 201, with a writer already running."""

from __future__ import annotations

import contextlib
import http.client
import time
from pathlib import Path

from bench.report import Report, Row
from tests.support.builders import segment
from tests.support.servers import Process

ROUNDS = 7


def add_row(folder: Path, report: Report) -> None:
    """Start ingest several times, and add a row of the milliseconds."""
    env = {"ROOT": str(folder)}
    writer = Process("writer", env).start("/health/readiness")
    times = []
    try:
        for _ in range(ROUNDS):
            ingest = Process("ingest", {**env, "WRITER_URL": writer.url})
            start = time.perf_counter()
            ingest.start(wait="")
            try:
                while not _stores(ingest.port) and time.perf_counter() < start + 60:
                    time.sleep(0.001)
                times.append((time.perf_counter() - start) * 1e3)
            finally:
                ingest.stop()
    finally:
        writer.stop()
    report.add(Row("cold start of ingest, exec to first 201", times, "ms"))


def _stores(port: int) -> bool:
    """True if a segment is stored. Each call connects anew, because most connections are refused at once."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    with contextlib.closing(connection), contextlib.suppress(OSError):
        connection.request("POST", "/sendF", segment())
        return connection.getresponse().status == 201
    return False
