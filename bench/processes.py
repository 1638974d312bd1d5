"""Processor time and memory of a store's processes."""

from __future__ import annotations

import os
from pathlib import Path

from tests.support.servers import Store

_TICKS = os.sysconf("SC_CLK_TCK")


def group(leader: int) -> list[int]:
    """The processes of a function: the server, which leads a process group, and its workers."""
    return [int(path.name) for path in Path("/proc").glob("[0-9]*") if _group_of(path) == leader]


def resident(pid: int) -> tuple[float, float]:
    """Resident memory of a process, now and at its peak, MB."""
    lines = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    now, peak = (int(lines[key].split()[0]) / 1024 for key in ("VmRSS", "VmHWM"))
    return now, peak


def cpu_seconds(store: Store) -> float:
    """Processor time of all processes of a store so far, in user code and in the kernel."""
    return sum(_cpu_seconds(pid) for process in store.processes.values() for pid in group(process.process.pid))


def _cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def _group_of(path: Path) -> int:
    try:
        return int((path / "stat").read_text().rpartition(")")[2].split()[2])
    except OSError:  # it has ended
        return 0
