"""The frozen batch as preproc sees it: read once from the journal, and held while products are put beside it."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator
from typing import NamedTuple

from shared import journal
from shared.config import Config
from shared.errors import NotFrozen, Recovering, StorageFailed
from shared.journal import Entry
from shared.posix import locked, storage_errors
from shared.state import FROZEN, WRITE, State, apply


class Stored(NamedTuple):
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


class Batch(NamedTuple):
    """A frozen batch, in order of arrival; `end` is how far the journal was read."""

    state: State
    segments: list[Stored]
    end: int


def read(config: Config) -> Batch:
    """Read the frozen batch.

    Raises:
        NotFrozen: it takes segments, or is being filed away.
        Recovering, JournalDamaged, StorageFailed: it cannot be read.
    """
    state, segments, end = State(), [], 0
    for entry in _entries(config, 0):
        record = entry.record
        state, end = apply(state, record), entry.end
        if record.message == WRITE:
            t0, dt = record.t0 or 0.0, record.dt or 0.0
            segments.append(Stored(record.name, record.detector, record.channel, t0, dt, record.n))
    _require_frozen(state)
    return Batch(state, segments, end)


@contextlib.contextmanager
def held(config: Config, batch: Batch, patience: float = 10.0) -> Iterator[None]:
    """Keep the batch as it was read: no freeze, thaw, segment or cleanall is decided while the context lasts.

    The writer's lock does it. The caller is quick: ingest waits for it.

    Raises:
        NotFrozen: it is not that batch any more, or has been open since.
        Busy: the writer held its lock for `patience` seconds.
    """
    with storage_errors("opening the lock"):
        try:
            fd = os.open(config.lock_path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC)
        except OSError as error:
            if error.errno not in (errno.EROFS, errno.EACCES):
                raise
            fd = os.open(config.lock_path, os.O_RDONLY | os.O_CLOEXEC)  # enough for flock, except over NFS
    try:
        with locked(fd, patience):
            state = batch.state
            first = next(_entries(config, 0), None)
            if first is None or first.record.batch != state.batch:
                raise NotFrozen("The batch has been filed away meanwhile.")
            for entry in _entries(config, batch.end):
                state = apply(state, entry.record)
            _require_frozen(state)
            if state.n_itm != batch.state.n_itm:
                raise NotFrozen("The batch was opened and has grown meanwhile.")
            yield
    finally:
        os.close(fd)


def _require_frozen(state: State) -> None:
    if state.closing:
        raise NotFrozen("The batch is being filed away.")
    if state.dstatus != FROZEN:
        raise NotFrozen("The batch is not frozen.")


def _entries(config: Config, start: int) -> Iterator[Entry]:
    """The journal's records from `start` on; a group that is being appended at this moment is not there yet."""
    try:
        file = open(config.journal_path, "rb", buffering=0)
    except FileNotFoundError:
        raise Recovering("The store has no journal yet.") from None
    except OSError as error:
        raise StorageFailed(f"{config.log_name}: {error.strerror}") from error
    with file, contextlib.suppress(journal.Torn):
        yield from journal.scan(file, start)
