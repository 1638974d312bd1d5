"""Measures strain by GPS time: 10,000 channels and a million segments, 64 s of a channel at 16384 Hz, 1 s of 240.

    python -m bench.strain [--segments 1000000] [--channels 10000]

The journal is written by hand, because the files of a million segments would take minutes; the one channel that is
read has its files. Requests go to the function `strain` on its own.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
import zlib
from pathlib import Path
from typing import Any

import h5py
import numpy

from bench.report import median, spread
from shared.config import store_from_env
from shared.domain.records import OPEN, WRITE, Record, file_name
from shared.storage import journal
from shared.volume import counters
from shared.volume.layout import Layout, create_folders
from tests.support import ROOT
from tests.support.blocks import arrow_block
from tests.support.servers import Process, Store, http

T0, RATE, SECONDS, CHUNK = 1126259446, 16384, 64, 300
READ = "V1:Hrec_hoft_16384Hz"
REPEATS = 15


def populate(root: Path, segments: int, channels: int) -> numpy.ndarray:
    """A volume with an open batch; returns the strain of the channel whose files are there."""
    layout = Layout(store_from_env({"ROOT": str(root)}))
    create_folders(layout)
    Path(layout.data).mkdir(parents=True)
    samples = numpy.random.default_rng(1).normal(scale=1e-21, size=SECONDS * RATE)
    number, size = 10**18, 0
    with open(layout.journal, "wb") as log:
        log.write(journal.encode(Record("info", 0, 0, "", "2026-01-01T00:00:00Z", OPEN, 0, batch=1)))
        for index in range(segments):
            number += 1_000_000
            name = file_name(number)
            first = index * CHUNK
            about: dict[str, Any] = {"channel": READ, "t0": T0 + first / RATE, "dt": 1 / RATE, "samples": CHUNK}
            if first < len(samples):
                h = samples[first : first + CHUNK].tolist()
                content = json.dumps({"h": h, "t": [about["t0"], about["dt"]], "channel": READ}).encode()
                Path(layout.data, name).write_bytes(content)
                about |= {"samples": len(h), "crc32": zlib.crc32(content)}
            else:
                second, channel = divmod(index, channels)
                about |= {"channel": f"V1:SLOW-{channel:05}", "t0": float(T0 + second), "dt": 1 / 16, "samples": 16}
            record = Record("info", index, 99, name, "2026-01-01T00:00:00Z", WRITE, 0, detector="V1", **about)
            log.write(journal.encode(record))
            size += 99
    counters.write(layout.counters, counters.Counters(1, segments, size))
    Path(layout.stat_view).write_text(json.dumps({"n_itm": segments, "buff_size": size}))
    Path(layout.dstat_view).write_text(json.dumps({"dstatus": "OPERATIONAL"}))
    return samples


def first_answer(strain: Process) -> float:
    """Seconds from the start of the process to its first answer about channels."""
    began = time.perf_counter()
    strain.start("")
    strain.wait("/channels?limit=1", timeout=120)
    return time.perf_counter() - began


def timed(url: str, *, whole: bool = False) -> list[float]:
    """Milliseconds to the first byte, or to the last."""
    times = []
    for _ in range(REPEATS):
        began = time.perf_counter()
        answer = http.request("GET", url, preload_content=False)
        assert answer.status == 200, answer.data
        answer.read(1)
        first = time.perf_counter()
        answer.read()
        times.append(1000 * ((time.perf_counter() if whole else first) - began))
    return times


def memory(strain: Process) -> float:
    """Resident memory in MB."""
    pages = int(Path(f"/proc/{strain.process.pid}/statm").read_text().split()[1])
    return pages * 4096 / 1e6


def row(what: str, values: list[float], unit: str) -> None:
    print(f"| {what} | {spread(values)} {unit} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--segments", type=int, default=1_000_000)
    parser.add_argument("--channels", type=int, default=10_000)
    asked = parser.parse_args()
    (ROOT / "build").mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="bench-", dir=ROOT / "build") as place:
        folder = Path(place)
        samples = populate(folder / "store", asked.segments, asked.channels)
        strain = Process("strain", {"ROOT": str(folder / "store")})
        print(
            f"\n| strain: {asked.channels:,} channels, {asked.segments:,} segments | median (min to max) |\n|---|---|"
        )
        try:
            row("start without a saved index", [first_answer(strain)], "s")
            saved = folder / "store" / "datavar" / ".strain.idx"
            while not saved.exists():
                time.sleep(0.1)
            row("resident memory", [memory(strain)], "MB")
            strain.stop()
            row("start with a saved index", [first_answer(strain)], "s")
            interval = f"channel={READ}&start={T0}&duration={SECONDS}"
            row("/channels, a page of 1,000", timed(f"{strain.url}/channels"), "ms")
            row("/channels, a page of 100 from the middle", timed(
                f"{strain.url}/channels?limit=100&after=V1/V1%253ASLOW-05000/16.0"), "ms")  # fmt: skip
            row("/coverage", timed(f"{strain.url}/coverage?channel=V1:SLOW-00007"), "ms")
            for format in ("raw", "json"):
                row(
                    f"/strain, {SECONDS} s, {format}, first byte",
                    timed(f"{strain.url}/strain?{interval}&format={format}"),
                    "ms",
                )
            content = http.request("GET", f"{strain.url}/strain?{interval}&format=raw").data
            assert content == samples.astype("<f8").tobytes()
            local = h5py_seconds(folder, samples)
            for format in ("raw", "json"):
                url = f"{strain.url}/strain?{interval}&format={format}"
                rates = [samples.nbytes / 1e3 / value for value in timed(url, whole=True)]
                share = median(rates) / (samples.nbytes / 1e6 / local)
                row(f"/strain, {SECONDS} s at {RATE} Hz, {format}, {share:.1%} of h5py", rates, "MB/s of samples")
            row("resident memory after all", [memory(strain)], "MB")
        finally:
            strain.stop()
        many_channels(folder)


def many_channels(folder: Path) -> None:
    """One second of 240 channels that came as a block, a request a channel, beside h5py with the same bytes."""
    payload = arrow_block(240, 4096, t0=T0)
    url = f"/strain?start={T0}&duration=1&format=raw&channel=V1:CH_"
    with Store("embedded", folder / "block") as store:
        store.stored(payload, {"Content-Type": "application/vnd.apache.arrow.stream"})
        rates, size = [], 0
        for _ in range(5):
            began = time.perf_counter()
            size = sum(len(http.request("GET", store.url("/strain") + url[7:] + str(i)).data) for i in range(240))
            rates.append(size / 1e6 / (time.perf_counter() - began))
    assert size == 240 * 4096 * 8
    path = folder / "channels.hdf5"
    with h5py.File(path, "w") as file:
        for i in range(240):
            file[f"V1:CH_{i}"] = numpy.zeros(4096)
    began = time.perf_counter()
    with h5py.File(path) as file:
        assert sum(file[name][()].nbytes for name in file) == size
    share = median(rates) / (size / 1e6 / (time.perf_counter() - began))
    row(f"/strain, 1 s of 240 channels at 4096 Hz, raw, {share:.1%} of h5py", rates, "MB/s of samples")


def h5py_seconds(folder: Path, samples: numpy.ndarray) -> float:
    """Seconds in which h5py reads the same samples from a local file."""
    path = folder / "strain.hdf5"
    with h5py.File(path, "w") as file:
        file["h"] = samples
    times = []
    for _ in range(REPEATS):
        began = time.perf_counter()
        with h5py.File(path) as file:
            assert file["h"][()].nbytes == samples.nbytes
        times.append(time.perf_counter() - began)
    return median(times)


if __name__ == "__main__":
    main()
