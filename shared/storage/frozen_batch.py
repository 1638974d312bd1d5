"""The frozen batch as jobs see it: read once from the journal, held while what they made is put beside it."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator
from typing import NamedTuple

from shared.domain.records import WRITE, segments_in
from shared.domain.segment import StoredSegment
from shared.domain.state import FROZEN, State, apply
from shared.errors import NotFrozen, Recovering, StorageFailed
from shared.storage import journal
from shared.storage.journal import JournalEntry
from shared.volume import counters
from shared.volume.layout import Layout
from shared.volume.posix import file_lock, storage_errors
from shared.volume.views import Views


class FrozenBatch(NamedTuple):
    """A frozen batch: its state, its segments in order of arrival, and the journal's offset behind the last record.

    A block is as many segments as it holds runs, all of one file.
    """

    state: State
    segments: list[StoredSegment]
    end: int


class BatchStatus(NamedTuple):
    """The open batch as published: exact enough to decide whether there is work to do."""

    batch: int
    n_itm: int
    frozen: bool


def status(layout: Layout) -> BatchStatus:
    """The status of the open batch, from counters and views.

    Raises:
        Recovering, StorageFailed: nothing is published.
    """
    counted = counters.read(layout.counters)
    return BatchStatus(counted.batch, counted.segments, Views(layout).dstat()["dstatus"] == FROZEN)


def read(layout: Layout, archive: str = "", *, segments_too: bool = True) -> FrozenBatch:
    """Read the frozen batch; or an archive, which never changes, whether it was frozen or not.

    Without its segments it takes no memory for them.

    Raises:
        NotFrozen: the batch takes segments, or is being archived.
        Recovering, JournalDamaged, StorageFailed: it cannot be read.
    """
    state, end = State(), 0
    segments: list[StoredSegment] = []
    for entry in _entries(layout.archived_journal(archive) if archive else layout.journal, 0):
        record = entry.record
        state, end = apply(state, record), entry.end
        if record.kind == WRITE and segments_too:
            segments += segments_in(record)
    if not archive:
        _require_frozen(state)
    return FrozenBatch(state, segments, end)


@contextlib.contextmanager
def hold_unchanged(layout: Layout, batch: FrozenBatch, timeout: float = 10.0) -> Iterator[None]:
    """Hold the writer's lock: no freeze, thaw, segment or cleanall is decided while the context lasts.

    The caller must be quick, because ingest waits for it.

    Raises:
        NotFrozen: the batch has been archived, or opened again, since it was read.
        Busy: the writer held its lock for `timeout` seconds.
    """
    with storage_errors("opening the lock"):
        try:
            fd = os.open(layout.lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC)
        except OSError as error:
            if error.errno not in (errno.EROFS, errno.EACCES):
                raise
            fd = os.open(layout.lock, os.O_RDONLY | os.O_CLOEXEC)  # enough for flock, except over NFS
    try:
        with file_lock(fd, timeout):
            state = batch.state
            first = next(_entries(layout.journal, 0), None)
            if first is None or first.record.batch != state.batch:
                raise NotFrozen("The batch has been archived meanwhile.")
            for entry in _entries(layout.journal, batch.end):
                state = apply(state, entry.record)
            _require_frozen(state)
            if state.segments != batch.state.segments:
                raise NotFrozen("The batch was opened and has grown meanwhile.")
            yield
    finally:
        os.close(fd)


def _require_frozen(state: State) -> None:
    if state.closing:
        raise NotFrozen("The batch is being archived.")
    if state.status != FROZEN:
        raise NotFrozen("The batch is not frozen.")


def _entries(path: str, start: int) -> Iterator[JournalEntry]:
    """The journal's records from `start` on, without a group that is being appended at this moment."""
    try:
        file = open(path, "rb", buffering=0)
    except FileNotFoundError:
        raise Recovering("The store has no journal yet.") from None
    except OSError as error:
        raise StorageFailed(f"{path}: {error.strerror}") from error
    with file, contextlib.suppress(journal.TornTail):
        yield from journal.scan(file, start)
