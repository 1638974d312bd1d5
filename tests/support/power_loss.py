"""Takes away everything that was not synced, as a power loss would; `power_loss.c` records what was."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path


def build_shim(folder: Path) -> Path | None:
    """The library to preload into servers; None where there is no C compiler."""
    if not shutil.which("cc"):
        return None
    library = folder / "power_loss.so"
    source = Path(__file__).with_name("power_loss.c")
    subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-o", library, source, "-ldl"], check=True)
    return library


def environment(shim: Path, log: Path) -> dict[str, str]:
    """What a server needs in its environment for its syncs to be recorded in `log`."""
    return {"SYNC_LOG": str(log), "LD_PRELOAD": str(shim)}


def lose_power(root: Path, log: Path, how: str) -> int:
    """Cut every file under `root` back to what was synced; return how many files lost something.

    All servers must be dead. A file that was never synced becomes empty (`how="empty"`), or vanishes ("gone").
    """
    durable: dict[int, int] = {}
    synced_before = 0
    for line in log.read_text().splitlines():
        kind, *numbers = line.split()
        if kind == "F":
            durable[int(numbers[0])] = int(numbers[1])
        else:
            synced_before = max(synced_before, int(numbers[0]))
    lost = 0
    for path in [p for p in root.rglob("*") if p.is_file()]:
        about = path.stat()
        if about.st_mtime_ns < synced_before:  # also where its inode's number once was another, shorter file's
            continue
        keep = durable.get(about.st_ino, 0)
        if keep < about.st_size:
            lost += 1
            if keep == 0 and how == "gone":
                path.unlink()
            else:
                os.truncate(path, keep)
    return lost
