"""Limits of the machine, measured beside the loads, so that results can be given as shares of them.

Each limit is measured repeatedly, because a shared disk changes its speed by half within minutes. ext4 creates files up
to ten times slower where many were removed in the last minutes, because it skips blocks that were freed just now. A run
therefore removes nothing before its end, and `spread` makes it begin in another region than the run before.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import struct
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

from bench.generator import LONG, SHORT, measure
from bench.report import Report, Row
from tests.support.checks import wait_for
from tests.support.ports import free_port
from tests.support.servers import http

FS_IOC_GETFLAGS, FS_IOC_SETFLAGS, FS_TOPDIR_FL = 0x80086601, 0x40086602, 0x00020000  # linux/fs.h
RECORD = 260  # bytes of a journal line
APPENDED, MADE = "7 kB appended, a sync for 64", "7 kB files made"
MB_APPENDED, MB_MADE = "390 kB appended, a sync for 10", "390 kB made as files"
RECORDS, ALONE = "records appended, a sync for 256", "a record appended and synced by itself"
HELLO, HELLO_ALONE = "the framework's hello, 16 connections", "the framework's hello, 1 connection"
FLOOR, LONG_FLOOR = "a 7 kB segment by itself", "a 390 kB segment by itself"
ONE_SYNC = f"{FLOOR}, with one sync instead of two"  # out of reach with separate logs of payloads and decisions


class Limits:
    """Limits of the volume below `folder`, and of the framework. Every measurement is kept."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.measured: dict[str, list[float]] = defaultdict(list)

    def measure(self, *names: str) -> tuple[str, float]:
        """Measure these limits, each after a sync of the disk; return the name and value of the lowest."""
        for name in names:
            place = Path(tempfile.mkdtemp(dir=self._folder))
            os.sync()
            self.measured[name].append(LIMITS[name](place))
            for log in place.glob("log*"):
                log.unlink()
        return min(((name, self.measured[name][-1]) for name in names), key=lambda limit: limit[1])

    def all(self) -> None:
        """Measure every limit."""
        self.measure(*LIMITS)

    def add_rows(self, report: Report) -> None:
        """Add a row for each limit, with all its values in this run."""
        for name in LIMITS:
            report.add(Row(f"limit: {name}", self.measured[name], "MB/s" if name in (MB_APPENDED, MB_MADE) else "/s"))


def spread(folder: Path) -> None:
    """Set the flag by which ext4 puts each new subfolder into a region of its own; ignored by other file systems."""
    fd = os.open(folder, os.O_RDONLY)
    with contextlib.suppress(OSError):
        (flags,) = struct.unpack("l", fcntl.ioctl(fd, FS_IOC_GETFLAGS, bytes(8)))
        fcntl.ioctl(fd, FS_IOC_SETFLAGS, struct.pack("l", flags | FS_TOPDIR_FL))
    os.close(fd)


def size_of(payload: bytes) -> str:
    """The name of a payload in the tables."""
    return "390 kB" if payload is LONG else "7 kB"


def _floor(root: Path, *appended: list[bytes]) -> float:
    """Segments a second if each has the disk to itself: create its file, append and sync each log, rename the file.

    An upper bound, at one connection, for every store that makes segments durable in that way.
    """
    appends = [_appends(root, each) for each in appended]

    def store(i: int) -> None:
        _make(root / f"staged{i}", appended[0][0])
        for append in appends:
            append(i)
        os.rename(root / f"staged{i}", root / f"stored{i}")

    return _per_second(store)


def _hello(root: Path, connections: int) -> float:
    """Requests a second of the framework's asynchronous hello, in its own application, with our server's settings."""
    (root / "main.py").write_text(
        "import functions_framework.aio\n@functions_framework.aio.http\nasync def hello(request):\n    return 'hi'\n"
    )
    port = free_port()
    url = f"http://127.0.0.1:{port}/"
    code = (
        "import functions_framework.aio as f, uvicorn\n"
        f"app = f.create_asgi_app('hello', {str(root / 'main.py')!r}, 'http')\n"
        f"uvicorn.run(app, port={port}, access_log=False, log_level='error', loop='uvloop', http='httptools')"
    )
    process = subprocess.Popen([sys.executable, "-W", "ignore", "-c", code])
    try:
        wait_for(lambda: _answers(url))
        return measure(url, connections, 2).rate
    finally:
        process.terminate()
        process.wait()


def _answers(url: str) -> bool:
    try:
        return http.request("GET", url).status == 200
    except Exception:
        return False


def _appends(root: Path, payloads: list[bytes]) -> Callable[[int], None]:
    """A function that appends these payloads to a new file and syncs once."""
    handle, name = tempfile.mkstemp(dir=root, prefix="log")
    os.unlink(name)  # so that its room is free again when it is closed, with its last reference
    file = os.fdopen(handle, "wb", buffering=0)

    def append(_: int) -> None:
        os.writev(file.fileno(), payloads)
        os.fdatasync(file.fileno())

    return append


def _make(path: Path, payload: bytes, *, sync: bool = False) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CREAT)
    os.write(fd, payload)
    if sync:
        os.fdatasync(fd)
    os.close(fd)


def _per_second(act: Callable[[int], None], seconds: float = 0.3, most: int = 20_000) -> float:
    """Calls of `act` a second, measured over `seconds` or `most` calls, whichever ends first."""
    start = time.perf_counter()
    for done in range(1, most + 1):
        act(done)
        if (taken := time.perf_counter() - start) > seconds:
            break
    return done / taken


def long_append(root: Path, payload: bytes, seconds: float = 1.0) -> float:
    """MB/s of one payload after another appended to a file, each synced: what one connection can have of the disk."""
    place = Path(tempfile.mkdtemp(dir=root))
    rate = len(payload) / 1e6 * _per_second(_appends(place, [payload]), seconds=seconds, most=200)
    for log in place.glob("log*"):
        log.unlink()
    return rate


LIMITS: dict[str, Callable[[Path], float]] = {
    APPENDED: lambda root: 64 * _per_second(_appends(root, [SHORT] * 64)),
    MADE: lambda root: _per_second(lambda i: _make(root / str(i), SHORT)),
    f"{MADE}, each synced": lambda root: _per_second(lambda i: _make(root / str(i), SHORT, sync=True)),
    FLOOR: lambda root: _floor(root, [SHORT], [b"r" * RECORD]),
    ONE_SYNC: lambda root: _floor(root, [SHORT, b"r" * RECORD]),
    MB_APPENDED: lambda root: 10 * len(LONG) / 1e6 * _per_second(_appends(root, [LONG] * 10)),
    MB_MADE: lambda root: len(LONG) / 1e6 * _per_second(lambda i: _make(root / str(i), LONG), most=250),
    LONG_FLOOR: lambda root: _floor(root, [LONG], [b"r" * RECORD]),
    RECORDS: lambda root: 256 * _per_second(_appends(root, [b"r" * RECORD] * 256)),
    ALONE: lambda root: _per_second(_appends(root, [b"r" * RECORD])),
    HELLO: lambda root: _hello(root, 16),
    HELLO_ALONE: lambda root: _hello(root, 1),
}
