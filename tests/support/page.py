"""The status page for tests: a browser to open it in, strain that is worth a look, products made by hand."""

from __future__ import annotations

import base64
import hashlib
import json
import math
import os
import shutil
from pathlib import Path

from shared.preproc.products import MANIFEST, Manifest, encode
from shared.volume.made_files import File

CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium") or "/usr/bin/chromium"
QUIET = (
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
)  # fmt: skip


def strain(i: int, n=300, dt=1 / 4096, **extra) -> bytes:
    """The `i`th segment of a stream without gaps, with a chirp near 2.3 s, so that there is something to see."""
    t = [(i * n + k) * dt for k in range(n)]
    h = [3e-22 * math.sin(9 * x) + 1e-22 * math.sin(251 * x) * math.sin(3 * x) + 1e-21 * chirp(2.3 - x) for x in t]
    return json.dumps({"h": h, "t": [1126259446.0 + i * n * dt, dt], "detector": "H1", **extra}).encode()


def chirp(left: float) -> float:
    """A compact binary `left` seconds before it merges, in the lowest order: f ~ left^(-3/8), h ~ left^(-1/4)."""
    if left <= 0:
        return math.exp(left * 150) * math.cos(1500 * left)
    return 0.12 * max(left, 1e-3) ** -0.25 * math.cos(2 * math.pi * 40 * (left + 1e-3) ** 0.625)


PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNkYPhfDwAChwGA60e6kgAAAABJRU5ErkJggg=="
)


def put_product(folder: Path, name: str, content: bytes) -> None:
    folder.mkdir()
    (folder / name).write_bytes(content)
    file = File(name=name, size=len(content), sha256=hashlib.sha256(content).hexdigest())
    manifest = Manifest(
        batch=1, n_itm=0, buff_size=0, verdict="done", time="", files=[file],
        streams=[], unusable=[], parameters={}, versions={},
    )  # fmt: skip
    (folder / MANIFEST).write_bytes(encode(manifest))
