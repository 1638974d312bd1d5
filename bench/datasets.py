"""Measures training sets: events x 12 channels x 8 s at 4096 Hz, beside h5py alone that writes the same arrays.

    python -m bench.datasets [--events 50] [--seconds 64]

The journal and the segments, of 1 s each, are written by hand; windows of events overlap where they are many. Each row
is a process of its own, imports included; time is wall clock, memory its peak resident size.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
import zlib
from pathlib import Path
from typing import Any

import numpy

from shared.config import store_from_env
from shared.datasets.orders import Orders
from shared.datasets.request import Request, check
from shared.domain.records import OPEN, UPDATE, WRITE, Record, file_name
from shared.domain.state import FROZEN
from shared.storage import journal
from shared.storage.reader import BatchReader
from shared.volume import counters
from shared.volume.layout import Layout, create_folders
from tests.support import ROOT

T0, RATE, CHANNELS, WINDOW = 1126259446, 4096, 12, 8
WHEN = "2026-01-01T00:00:00Z"

ALONE = f"""
import h5py, numpy, os, sys
events, samples = int(sys.argv[1]), {WINDOW * RATE}
noise = numpy.random.default_rng(1).normal(scale=1e-21, size=samples)
os.mkdir("alone")
for event in range(events):
    with h5py.File(f"alone/{{event}}.hdf5", "w") as file:
        group = file.create_group(str(event))
        for channel in range({CHANNELS}):
            data = group.create_dataset(f"V1:C{{channel}}", data=noise, track_times=False)
            data.attrs["t0"], data.attrs["sample_rate"] = 1126259446.0, {RATE}.0
"""


def populate(root: Path, seconds: int) -> Layout:
    """A volume with a frozen batch."""
    layout = Layout(store_from_env({"ROOT": str(root)}))
    create_folders(layout)
    Path(layout.data).mkdir(parents=True)
    source = numpy.random.default_rng(1)
    number, size, index = 10**18, 0, 0
    with open(layout.journal, "wb") as log:
        log.write(journal.encode(Record("info", 0, 0, "", WHEN, OPEN, 0, batch=1)))
        for second in range(seconds):
            for channel in range(CHANNELS):
                number += 1_000_000
                name, h = file_name(number), source.normal(scale=1e-21, size=RATE).tolist()
                about: dict[str, Any] = {
                    "detector": "V1",
                    "channel": f"V1:C{channel}",
                    "t0": float(T0 + second),
                    "dt": 1 / RATE,
                }
                content = json.dumps({"h": h, "t": [about["t0"], about["dt"]], "channel": about["channel"]}).encode()
                Path(layout.data, name).write_bytes(content)
                more = {**about, "samples": RATE, "crc32": zlib.crc32(content)}
                log.write(journal.encode(Record("info", index, len(content), name, WHEN, WRITE, 0, **more)))
                index, size = index + 1, size + len(content)
        log.write(journal.encode(Record("info", index, size, "", WHEN, UPDATE, 0, status=FROZEN, user="bench")))
    counters.write(layout.counters, counters.Counters(1, index, size))
    Path(layout.stat_view).write_text(json.dumps({"n_itm": index, "buff_size": size}))
    Path(layout.dstat_view).write_text(json.dumps({"dstatus": FROZEN, "user": "bench", "token": ""}))
    return layout


def measure(name: str, command: list[str], folder: Path, samples: int) -> float:
    """Run a command; print its time, speed and memory, and return samples a second."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "ignore", "ROOT": str(folder)}
    began = time.perf_counter()
    process = subprocess.Popen(command, cwd=folder, env=environment)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    seconds = time.perf_counter() - began
    assert process.returncode == 0, name
    speed = samples / seconds
    print(f"  {name:<34}{seconds:7.1f} s {speed / 1e6:8.2f} million samples/s {usage.ru_maxrss / 1024:6.0f} MB")
    return speed


def main() -> None:
    """Make the batch, then measure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=50)
    parser.add_argument("--seconds", type=int, default=64, help="of the batch")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        layout = populate(folder, given.seconds)
        reader = BatchReader(store_from_env({"ROOT": name}))
        number, opened = reader.batches.current()
        step = (given.seconds - WINDOW) / max(given.events - 1, 1)
        times = [T0 + WINDOW / 2 + int(event * step * RATE) / RATE for event in range(given.events)]
        samples = given.events * CHANNELS * WINDOW * RATE
        print(
            f"training set of {given.events} events x {CHANNELS} channels x {WINDOW} s at {RATE} Hz: {samples} samples"
        )
        alone = measure("h5py alone", [sys.executable, "-c", ALONE, str(given.events)], folder, samples)
        for form in ("annalisa", "stack"):
            request = check(Request(form, list(times), layout=form))
            Orders(layout).add(request, number, opened)
            job = [sys.executable, "-m", "shared.datasets.job", form]
            speed = measure(f"layout {form}", job, folder, samples)
            print(f"  {'':<34}{100 * speed / alone:7.1f} % of h5py alone")


if __name__ == "__main__":
    main()
