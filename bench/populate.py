"""Batches made with the library, and the rate of the writer alone: no HTTP is involved."""

from __future__ import annotations

import time
from pathlib import Path

from shared.config import store_from_env
from shared.domain.commit import CommitRequest
from shared.ingest.spool_writer import SpoolWriter
from shared.storage.writer import Writer
from shared.volume.spool import SpoolDirectory
from tests.support.builders import commit_requests, segment

BATCH = 256


def fill(root: Path, count: int, *, keys: bool = False) -> tuple[float, str]:
    """Store `count` small segments through spool and writer, with idempotency keys if asked.

    Returns:
        Segments a second, and the name of the segment in the middle.
    """
    config = store_from_env({"ROOT": str(root)})
    writer = Writer(config)
    writer.open()
    spool = SpoolWriter.from_config(config)
    payload = segment(1)
    middle, prefix = "", time.time_ns()  # new keys, because those of the batch before are still remembered
    start = time.perf_counter()
    for first in range(0, count, BATCH):
        numbers = range(first, min(first + BATCH, count))
        named = [f"{prefix}-{number}" for number in numbers] if keys else []
        verdicts = writer.commit(commit_requests(spool, [payload] * len(numbers), named, t0=1e9, dt=1.0, samples=1))
        if count // 2 in numbers:
            middle = verdicts[count // 2 - first].name
    rate = count / (time.perf_counter() - start)
    spool.close()
    writer.close()
    return rate, middle


def core(folder: Path) -> float:
    """Records a second that the writer commits, in batches of 256 on one thread, the journal's syncs included.

    Files are not renamed, because the file system bounds that; `baselines` measures it.
    """
    writer = Writer(store_from_env({"ROOT": str(folder)}))
    writer.open()
    spool = "0" * 16
    Path(SpoolDirectory(writer.layout).file(spool)).touch()
    writer._publisher.publish_files = lambda records: None  # type: ignore[method-assign]
    first = int(time.time()) << 20  # beyond the offsets that an earlier round committed from this spool
    batches = [[CommitRequest(spool, (first + b * BATCH + i) * 100, 100, 0) for i in range(BATCH)] for b in range(200)]
    start = time.perf_counter()
    for batch in batches:
        verdicts = writer.commit(batch)
    taken = time.perf_counter() - start
    assert all(verdict.is_new for verdict in verdicts)
    writer.close()
    return BATCH * len(batches) / taken
