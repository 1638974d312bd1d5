"""Measures preproc: a 32 s batch at 4096 Hz in segments of 300 samples, beside gwpy alone on the same array.

Each row is a process of its own, imports included; time is wall clock, memory its peak resident size.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy

from tests.support import ROOT
from tests.support.extras import STRAIN
from tests.support.load import post_all
from tests.support.servers import Store

T0, RATE, CHUNK = 1126259446, 4096, 300

IMPORTS = "import gwpy.timeseries, matplotlib, numpy; matplotlib.use('Agg')"
TRANSFORM = f"""{IMPORTS}
series = gwpy.timeseries.TimeSeries(numpy.load('strain.npy'), t0={T0}, sample_rate={RATE})
q = series.q_transform(frange=(20, 500), logf=False, outseg=({T0} + 1, {T0} + 31), tres=1 / 128)
"""
PRODUCTS = f"""{TRANSFORM}
q.write('alone.hdf5', path='q', overwrite=True)
plot = q.plot(figsize=(12, 6))
plot.gca().set_yscale('log')
plot.gca().colorbar(label='Normalized energy')
plot.savefig('alone.png')
"""


def strain() -> numpy.ndarray:
    """GW150914 at L1 if it is present, else noise; time and memory depend on neither."""
    for path in STRAIN.glob("L-L1_LOSC_4_V2-*.hdf5"):
        import h5py

        with h5py.File(path) as file:
            return file["strain/Strain"][()]
    return numpy.random.default_rng(1).normal(scale=1e-21, size=32 * RATE)


def measure(name: str, command: list[str], folder: Path, **env: str) -> None:
    """Run a command five times; print the shortest time and the largest memory."""
    times, peaks = [], []
    for _ in range(5):
        began = time.perf_counter()
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "ignore", **env}
        process = subprocess.Popen(command, cwd=folder, env=environment)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        assert process.returncode == 0, name
        times.append(time.perf_counter() - began)
        peaks.append(usage.ru_maxrss / 1024)
        for products in folder.glob("datavar/products"):
            products.rename(folder / f"products-{time.time_ns()}")  # so that the next run has work to do
    print(f"  {name:<46}{min(times):6.2f} s {max(peaks):8.0f} MB")


def main() -> None:
    """Store the batch, then measure."""
    samples = strain()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        numpy.save(folder / "strain.npy", samples)
        with Store("embedded", folder, PREPROC="off") as store:
            parts = [(i, samples[i : i + CHUNK].tolist()) for i in range(0, len(samples), CHUNK)]
            bodies = [("", json.dumps({"h": h, "t": [T0 + i / RATE, 1 / RATE]}).encode()) for i, h in parts]
            assert {sent.status for sent in post_all(store.url("/sendF"), bodies, 8)} == {201}
            store.freeze()
        print(f"preproc of a batch of {len(samples) / RATE:g} s at {RATE} Hz, {len(parts)} segments of {CHUNK} samples")
        python = [sys.executable, "-c"]
        job = [sys.executable, "-m", "shared.preproc.job"]
        measure("preproc: batch read, HDF5, PNG, manifest", job, folder, ROOT=name)
        measure("gwpy alone: imports", [*python, IMPORTS], folder)
        measure("gwpy alone: whitening and Q-transform", [*python, TRANSFORM], folder)
        measure("gwpy alone: the same, HDF5 and PNG", [*python, PRODUCTS], folder)


if __name__ == "__main__":
    main()
