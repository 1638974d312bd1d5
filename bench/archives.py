"""Measures archives that live elsewhere: copied, freed, read by GPS and brought back, beside the S3 server's own speed.

    python -m bench.archives [--segments 100000] [--samples 400]

The server is versitygw over a folder of the same disk (knative/tools/install.sh s3). Its own speed is that of objects
of a piece's size, put and read back one after another by s3fs. Each step of the archiver is a process of its own,
imports included; time is wall clock.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
import zlib
from collections.abc import Callable
from pathlib import Path

from shared.archiver.indexing import make_coverage
from shared.archives.place import Place
from shared.config import StoreConfig, store_from_env
from shared.domain.records import OPEN, WRITE, Record, file_name
from shared.storage import journal
from shared.storage.writer import Writer
from shared.volume.layout import Layout, create_folders
from tests.support import ROOT, s3
from tests.support.archives import Copied, samples

WHEN = "2026-01-01T00:00:00Z"
T0, STRETCH = 1_000_000_000, 100  # GPS seconds; of the stretch that is read
MB = 1e6


def populate(config: StoreConfig, count: int, n: int) -> int:
    """A volume with one archive of segments of a second; return its bytes."""
    layout = Layout(config)
    create_folders(layout)
    Path(layout.data).mkdir(parents=True)
    size = 0
    values = ",".join(f"{1e-21 * (number * 7919 % 1009 - 504):.17g}" for number in range(n))
    with open(layout.journal, "wb") as log:
        log.write(journal.encode(Record("info", 0, 0, "", WHEN, OPEN, 0, batch=1)))
        for index in range(count):
            name, t0 = file_name(10**18 + index * 1_000_000), float(T0 + index)
            content = f'{{"h":[{values}],"t":[{t0!r},{1 / n!r}],"channel":"V1:X"}}'.encode()
            Path(layout.data, name).write_bytes(content)
            about = {"detector": "V1", "channel": "V1:X", "t0": t0, "dt": 1 / n, "samples": n}
            more = {**about, "crc32": zlib.crc32(content)}
            log.write(journal.encode(Record("info", index, len(content), name, WHEN, WRITE, 0, **more)))  # type: ignore[arg-type]
            size += len(content)
    writer = Writer(config)
    writer.open()
    writer.archive_batch()
    writer.close()
    return size


def timed(what: Callable[[], object]) -> float:
    began = time.monotonic()
    what()
    return time.monotonic() - began


def job(env: dict[str, str], *arguments: str) -> float:
    """The seconds that a step of the archiver takes."""
    command = [sys.executable, "-m", "shared.archiver.job", *arguments]
    environment = {**os.environ, **env, "PYTHONPATH": str(ROOT)}
    return timed(lambda: subprocess.run(command, cwd=ROOT, env=environment, check=True))


def server_alone(config: StoreConfig, size: int) -> tuple[float, float]:
    """Seconds to put so many bytes, and to read them back, in objects of a piece."""
    place = Place(config)
    piece = os.urandom(min(config.archive_piece, size))
    count = max(1, size // len(piece))
    put = timed(lambda: [place.put(f"alone/{number}", [piece]) for number in range(count)])
    read = timed(lambda: [len(b) for number in range(count) for b in place.chunks(f"alone/{number}", len(piece))])
    scale = size / (count * len(piece))
    return put * scale, read * scale


def measure(folder: Path, count: int, n: int) -> None:
    server = s3.S3Server(folder).start()
    proxy = s3.Proxy(server.port)
    try:
        env = {"ROOT": str(folder / "store"), **s3.environment(server.port)}
        config = store_from_env(env)
        size = populate(config, count, n)
        name = Copied(config).held().name
        make_coverage(config, Layout(config), name)
        stretch = samples(config, T0 + count // 2, T0 + count // 2 + STRETCH)
        put, read = server_alone(config, size)
        print(f"{count} segments of {size // count} bytes, {size / MB:.0f} MB")
        print(f"the server alone: put {size / MB / put:.0f} MB/s, read {size / MB / read:.0f} MB/s")
        copied = job(env, "copy", name)
        rate, limit = size / MB / copied, put + read
        print(f"copied and verified in {copied:.1f} s: {rate:.0f} MB/s, {limit / copied:.0%} of the server's own")
        freed = job({**env, "ARCHIVE_KEEP": "0"}, "free")
        print(f"freed in {freed:.1f} s")
        behind = store_from_env({"ROOT": env["ROOT"], **s3.environment(proxy.port)})
        again: list[float] = []
        seconds = timed(lambda: again.extend(samples(behind, T0 + count // 2, T0 + count // 2 + STRETCH)))
        assert again == stretch, "what is read from the copy differs"
        requests = proxy.ranges()
        print(f"{STRETCH} s by GPS from the copy, bit for bit: {len(requests)} range requests, {seconds:.2f} s")
        back = job(env, "restore", name)
        print(f"brought back in {back:.1f} s: {size / MB / back:.0f} MB/s")
    finally:
        proxy.stop()
        server.stop()


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("--segments", type=int, default=20_000)
    parser.add_argument("--samples", type=int, default=4096)
    parser.add_argument("--folder", help="of the volume and of the server's objects")
    asked = parser.parse_args()
    if not s3.is_there():
        print("archives: skipped, needs s3fs and versitygw (knative/tools/install.sh s3)")
        return 0
    with tempfile.TemporaryDirectory(prefix="bench-", dir=asked.folder) as folder:
        measure(Path(folder), asked.segments, asked.samples)
    return 0


if __name__ == "__main__":
    sys.exit(main())
