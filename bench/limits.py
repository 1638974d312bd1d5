"""What the machine itself allows, measured in the same run, so that results can be given as a share of it."""

from __future__ import annotations

import os
import tempfile
import time
from pathlib import Path

PAYLOAD = os.urandom(7130)


def limits(folder: Path) -> dict[str, float]:
    """Per second: groups of 64 payloads appended and synced; files made without and with a sync; renames."""
    with tempfile.TemporaryDirectory(dir=folder) as place:
        root = Path(place)
        log = os.open(root / "log", os.O_WRONLY | os.O_CREAT)

        def append(_: int) -> None:
            os.writev(log, [PAYLOAD] * 64)
            os.fdatasync(log)

        def create(number: int, *, sync: bool = False) -> None:
            fd = os.open(root / f"{sync}{number}", os.O_WRONLY | os.O_CREAT)
            os.write(fd, PAYLOAD)
            if sync:
                os.fdatasync(fd)
            os.close(fd)

        return {
            "segments appended, a sync for 64": 64 * _per_second(append, 200),
            "files made, no sync": _per_second(create, 5000),
            "files made, each synced": _per_second(lambda number: create(number, sync=True), 300),
            "renames": _per_second(lambda n: os.rename(root / f"False{n}", root / f"renamed{n}"), 5000),
        }


def _per_second(act, times: int) -> float:
    start = time.perf_counter()
    for number in range(times):
        act(number)
    return times / (time.perf_counter() - start)
