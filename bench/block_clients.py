"""gwclient beside a load generator at as many connections: a folder of files in blocks, and a file in segments."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import h5py
import numpy

from bench.generator import SHORT, measure
from bench.report import Report, Row
from tests.support import ROOT
from tests.support.blocks import ARROW, T0, arrow_block
from tests.support.servers import Store

PAIRS = 3
CONNECTIONS = 8  # as gwclient has by default
FILES, SECONDS, CHANNELS, RATE = 3, 32, 128, 4096  # blocks of 4 MB
SEGMENTS = 4000  # of 300 samples
BLOCKS = f"gwclient: {FILES} files of {SECONDS} blocks of {CHANNELS} x {RATE} float64"
SINGLE = f"gwclient: a file of {SEGMENTS} segments of 300 samples"
GENERATOR = f"the same from a load generator, {CONNECTIONS} connections"


def add_rows(store: Store, folder: Path, report: Report) -> None:
    """A row of each; both begin in turn."""
    with tempfile.TemporaryDirectory(dir=folder) as place:
        files, one = Path(place, "files"), Path(place, "one")
        for path in (files, one):
            path.mkdir()
        names = [f"V1:CH_{index}" for index in range(CHANNELS)]
        for number in range(FILES):
            first = T0 + number * SECONDS
            _write(files / f"V-V1_TEST-{first}-{SECONDS}.hdf5", names, first, SECONDS * RATE)
        _write(one / "one.hdf5", names[:1], T0, SEGMENTS * 300)
        block = arrow_block(CHANNELS, RATE)
        _add(store, report, BLOCKS, ["--file", str(files), "--channel", "V1:*"], block, ARROW)
        _add(store, report, SINGLE, ["--file", str(one / "one.hdf5")], SHORT, "application/json")


def _add(store: Store, report: Report, what: str, arguments: list[str], payload: bytes, type: str) -> None:
    ours: list[float] = []
    theirs: list[float] = []

    def client() -> None:
        os.sync()
        ours.append(_stream(store, arguments))

    def generator() -> None:
        os.sync()
        theirs.append(measure(store.url("/sendF"), CONNECTIONS, 2, payload, "RES_CREATE", type).rate)

    for pair in range(PAIRS):
        for act in (client, generator) if pair % 2 == 0 else (generator, client):
            act()
        store.cleanall(timeout=120)
    shares = [rate / other for rate, other in zip(ours, theirs, strict=True)]
    sizes = {"MB/s of the generator": [rate * len(payload) / 1e6 for rate in theirs]} if type == ARROW else {}
    report.add(Row(what, ours, "/s", shares, GENERATOR, others=sizes))


def _stream(store: Store, arguments: list[str]) -> float:
    """Pieces a second, from the first file's reading to the last acknowledgement."""
    with tempfile.TemporaryDirectory() as state:
        done = subprocess.run(
            [sys.executable, "-m", "gwclient", "stream", "--url", store.url("/sendF"), "--state", f"{state}/state",
             *arguments],
            cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=True,
        )  # fmt: skip
    found = re.search(r"stored; .*, (\d+)/s", done.stderr)
    assert found, done.stderr
    return float(found[1])


def _write(path: Path, names: list[str], first: int, n: int) -> None:
    dice = numpy.random.default_rng(first)
    with h5py.File(path, "w") as file:
        for name in names:
            data = file.create_dataset(name, data=dice.normal(scale=1e-21, size=n))
            data.attrs["x0"], data.attrs["dx"], data.attrs["xunit"] = float(first), 1 / RATE, "s"
