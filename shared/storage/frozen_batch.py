"""The frozen batch as preproc sees it: read once from the journal, and held while products are put beside it."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator
from typing import NamedTuple

from shared.config import StoreConfig
from shared.domain.records import WRITE
from shared.domain.state import FROZEN, State, apply
from shared.errors import NotFrozen, Recovering, StorageFailed
from shared.storage import journal
from shared.storage.journal import JournalEntry
from shared.volume.layout import Layout
from shared.volume.posix import file_lock, storage_errors


class StoredSegment(NamedTuple):
    """A segment of the batch: its file, and where its samples lie in time.

    Attributes:
        name: of the file in `data/`.
        detector: such as "L1"; empty where the client did not say.
        channel: such as "L1:GWOSC-4KHZ_R1_STRAIN", or empty.
        t0: GPS time of the first sample, seconds.
        dt: sampling interval, seconds.
        n: number of samples.
    """

    name: str
    detector: str
    channel: str
    t0: float
    dt: float
    n: int


class FrozenBatch(NamedTuple):
    """A frozen batch, in order of arrival; `end` is how far the journal was read."""

    state: State
    segments: list[StoredSegment]
    end: int


def read(config: StoreConfig) -> FrozenBatch:
    """Read the frozen batch.

    Raises:
        NotFrozen: it takes segments, or is being filed away.
        Recovering, JournalDamaged, StorageFailed: it cannot be read.
    """
    state, segments, end = State(), [], 0
    for entry in _entries(config, 0):
        record = entry.record
        state, end = apply(state, record), entry.end
        if record.kind == WRITE:
            t0, dt = record.t0 or 0.0, record.dt or 0.0
            segments.append(StoredSegment(record.name, record.detector, record.channel, t0, dt, record.samples))
    _require_frozen(state)
    return FrozenBatch(state, segments, end)


@contextlib.contextmanager
def hold_unchanged(config: StoreConfig, batch: FrozenBatch, patience: float = 10.0) -> Iterator[None]:
    """Keep the batch as it was read: no freeze, thaw, segment or cleanall is decided while the context lasts.

    The writer's lock does it. The caller is quick: ingest waits for it.

    Raises:
        NotFrozen: it is not that batch any more, or has been open since.
        Busy: the writer held its lock for `patience` seconds.
    """
    with storage_errors("opening the lock"):
        try:
            fd = os.open(Layout(config).lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC)
        except OSError as error:
            if error.errno not in (errno.EROFS, errno.EACCES):
                raise
            fd = os.open(Layout(config).lock, os.O_RDONLY | os.O_CLOEXEC)  # enough for flock, except over NFS
    try:
        with file_lock(fd, patience):
            state = batch.state
            first = next(_entries(config, 0), None)
            if first is None or first.record.batch != state.batch:
                raise NotFrozen("The batch has been filed away meanwhile.")
            for entry in _entries(config, batch.end):
                state = apply(state, entry.record)
            _require_frozen(state)
            if state.segments != batch.state.segments:
                raise NotFrozen("The batch was opened and has grown meanwhile.")
            yield
    finally:
        os.close(fd)


def _require_frozen(state: State) -> None:
    if state.closing:
        raise NotFrozen("The batch is being filed away.")
    if state.status != FROZEN:
        raise NotFrozen("The batch is not frozen.")


def _entries(config: StoreConfig, start: int) -> Iterator[JournalEntry]:
    """The journal's records from `start` on; a group that is being appended at this moment is not there yet."""
    try:
        file = open(Layout(config).journal, "rb", buffering=0)
    except FileNotFoundError:
        raise Recovering("The store has no journal yet.") from None
    except OSError as error:
        raise StorageFailed(f"{config.log_name}: {error.strerror}") from error
    with file, contextlib.suppress(journal.TornTail):
        yield from journal.scan(file, start)
