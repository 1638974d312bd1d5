"""Checks on what a store has written, and waiting for conditions."""

from __future__ import annotations

import json
import time
from pathlib import Path


def check_archive(folder: Path) -> dict[str, bytes]:
    """I8: an archive holds exactly its batch, the batch's journal and its final counts; return the batch's files.

    The batch's products and training sets lie beside them, if there were any, the index of its strain, if it was
    asked for, and what says that the archive is safe elsewhere.
    """
    stat = json.loads((folder / "StatDesc.json").read_text())
    records = [json.loads(line) for line in (folder / "LogStream.json").read_text().splitlines()]
    log = [record for record in records if record["message"] == "Write file"]
    files = {p.name: p.read_bytes() for p in folder.iterdir() if p.name.startswith("gwb")}
    beside = {p.name for p in folder.iterdir()} - {"products", "datasets", "strain.idx", "coverage.json", "remote.json"}
    others = beside ^ {"StatDesc.json", "LogStream.json", *files}
    assert not others, f"not as an archive is: {sorted(others)}"
    if (folder / "products").exists():
        made_of = json.loads((folder / "products" / "manifest.json").read_text())
        assert made_of["batch"] == records[0]["batch"]
    assert records[0]["message"] == "Open batch"
    assert records[-1]["message"] == "Clean all"
    assert [r["name"] for r in log] == sorted(files)
    assert stat == {"n_itm": len(log), "buff_size": sum(r["size"] for r in log)}
    assert all(len(files[r["name"]]) == r["size"] for r in log)
    return files


def name_in(answer: bytes) -> str:
    """The file name in the answer to /sendF."""
    return json.loads(answer)["body"].split()[1]


def wait_for(condition, timeout=30.0):
    """Wait until `condition()` is true."""
    deadline = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.05)
