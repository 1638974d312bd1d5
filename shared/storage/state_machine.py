"""The journal in use: followed as it grows and changes place, folded into the state, and appended to.

Not thread-safe and not locked: the writer calls it while it holds its lock, `try_state` excepted.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Sequence

from shared.checksum import crc32_of
from shared.domain.livetime import Livetime
from shared.domain.records import OPEN, WRITE, Record, utc_now
from shared.domain.runs import runs_of
from shared.domain.state import State, apply
from shared.errors import BatchChanged, JournalDamaged
from shared.storage import checkpoint, journal
from shared.storage.checkpoint import Checkpoint
from shared.storage.dedup import DedupIndex
from shared.trace_context import outgoing
from shared.volume.layout import Layout
from shared.volume.posix import AppendFile, same_file, storage_errors
from shared.volume.spool import SpoolDirectory

log = logging.getLogger(__name__)


class StateMachine:
    """State and dedup index as of the journal's durable end.

    Args:
        layout: the store's paths.
        spool: its spool files.
        measure: also keep up the livetime of the batch.

    Attributes:
        state: the journal's records, folded.
        dedup: index of what has been decided.
        end: offset up to which the journal is folded and durable.
    """

    def __init__(self, layout: Layout, spool: SpoolDirectory, *, measure: bool = False) -> None:
        self._layout = layout
        self._spool = spool
        self._livetime = Livetime() if measure else None
        self._file: AppendFile | None = None
        self.state = State()
        self.dedup = DedupIndex()
        self.end = 0
        self._crc32 = 0  # of the journal's bytes up to `end`
        self._appending = 0  # where the group that is being written will end

    def catch_up(self) -> list[Record]:
        """Fold what has been appended since the last call; cut a torn tail.

        Returns:
            The new segments whose spool file still exists: their files may not be in place yet.

        Raises:
            JournalDamaged: the journal, or the volume it describes, cannot be trusted.
            StorageFailed: the volume refused a write.
        """
        path = self._layout.journal
        if self._file is None or not same_file(self._file.fd, path):
            self._open_journal(path)
        return self._replay()

    def append(self, records: Sequence[Record]) -> State:
        """Make decided records durable, and fold them into the state, which is returned.

        Raises:
            StorageFailed: the journal and the state are as they were.
        """
        assert self._file is not None
        lines = [journal.encode(record) for record in records]
        state, start = self.state, self.end
        for record in records:
            state = apply(state, record)
        content = b"".join(lines)
        self._appending = start + len(content)
        try:
            self._file.append((content,), "journal")
        finally:
            self._appending, end = start, self._appending
        self._crc32 = crc32_of(content, self._crc32)
        # In this order: a reader without the lock may briefly take the state for outdated, never for newer.
        self.state = state
        self.end = self._appending = end
        offset = start
        for line, record in zip(lines, records, strict=True):
            self.dedup.add(offset, record)
            self._measure(record)
            offset += len(line)
        return state

    def require_open(self, batch: int | None) -> None:
        """Raise BatchChanged if another batch is open than the one that is meant; None means any."""
        if batch is not None and batch != self.state.batch:
            raise BatchChanged(f"batch {batch} is not open, batch {self.state.batch} is; nothing was done")

    def checkpoint(self) -> Checkpoint:
        """The checkpoint for the next start; to be saved once all files of the batch are durable."""
        spans = self._livetime.spans() if self._livetime else None
        return Checkpoint(self.state.batch, self.end, self._crc32, self.state, self.dedup.snapshot(), spans)

    @property
    def longest_span(self) -> float:
        """The longest span of strain in the batch, in seconds; 0 if it is not measured."""
        return self._livetime.longest_span if self._livetime else 0.0

    def _measure(self, record: Record) -> None:
        if self._livetime is None:
            return
        if record.kind == OPEN:
            self._livetime = Livetime()
        elif record.kind == WRITE:
            for run in runs_of(record):
                self._livetime.add(*run)

    def record(self, kind: str, **fields: object) -> Record:
        """A record of a decision that is not about a segment: with the batch's counts now, and the current trace."""
        state = self.state
        return Record("info", state.segments, state.bytes, "", utc_now(), kind, self.end, **outgoing(), **fields)  # type: ignore[arg-type]

    def first_record_of_next_batch(self) -> Record:
        """The OPEN record of the batch after this one."""
        state, dedup = self.state, self.dedup
        spools = self._spool.files()
        return Record(
            level="info",
            index=0,
            size=0,
            name="",
            time=utc_now(),
            kind=OPEN,
            group=0,
            batch=state.batch + 1,
            last=state.last,
            watermarks={spool: mark for spool, mark in dedup.watermarks.items() if spool in spools},
            previous=state.closing if dedup.has_keys else state.previous,
            decisions=dedup.decisions,
        )

    def stored_records(self) -> Iterator[Record]:
        """The records of the batch's segments, read from the journal.

        Raises:
            JournalDamaged: a line does not check.
        """
        assert self._file is not None
        return (entry.record for entry in journal.scan(self._file) if entry.record.kind == WRITE)

    def try_state(self) -> State | None:
        """The state; None where another process has appended since. Needs no lock and never waits."""
        file, state, end = self._file, self.state, self.end
        try:
            if file is None or not same_file(file.fd, self._layout.journal):
                return None
            size = os.fstat(file.fd).st_size
        except OSError:  # closed at this moment, by a cleanall
            return None
        # Between `end` and `_appending` lies a group of ours that is not acknowledged yet, so not counted.
        return state if end <= size <= max(end, self._appending) else None

    def close(self) -> None:
        """Close the journals."""
        self._file = None
        self.dedup.close()

    def _open_journal(self, path: str) -> None:
        """Open the journal now in place: at the start, and after a cleanall of this or another writer."""
        starting = self._file is None
        if not starting:
            self._replay()  # what was added before the batch was archived; its files went along
        if not os.path.exists(path):
            raise JournalDamaged(f"{path}: missing; restore it from a backup, or restart on an empty volume")
        with storage_errors("opening the journal"):
            file = AppendFile(path)
        first = journal.read_record(file, 0)
        if first is None or first.kind != OPEN:
            raise JournalDamaged(f"{path}: damaged at byte 0")
        if starting or first.batch != self.state.batch + 1:  # else it follows the batch that is known
            self.dedup.close()
            self.dedup = DedupIndex()
            previous = self._previous(first.previous) if first.previous else None
            saved = checkpoint.load(self._layout.checkpoint, file, first.batch)
            if saved is not None and (self._livetime is None or saved.spans is not None):
                self._resume(saved, file, previous)
                return
            if previous is not None:
                self.dedup.begin(previous)
                for entry in journal.scan(previous):
                    self.dedup.add(entry.offset, entry.record)
        self.dedup.begin(file)
        self._file = file
        self.end = self._crc32 = self._appending = 0

    def _resume(self, saved: Checkpoint, file: AppendFile, previous: AppendFile | None) -> None:
        log.info("resuming from the checkpoint at byte %d of the journal", saved.end)
        if self._livetime is not None and saved.spans is not None:
            self._livetime = Livetime.from_spans(saved.spans)
        self.dedup.resume(saved.dedup, file, previous)
        self._file = file
        self.state = saved.state
        self.end = self._appending = saved.end
        self._crc32 = saved.crc32

    def _previous(self, archive: str) -> AppendFile | None:
        """The journal of the batch before the open one, whose keys are still recognised."""
        path = self._layout.archived_journal(archive)
        try:
            return AppendFile(path)
        except FileNotFoundError:
            log.warning("%s is gone: a segment of that batch that is sent again will be stored again", path)
            return None

    def _replay(self) -> list[Record]:
        file = self._file
        assert file is not None
        if os.fstat(file.fd).st_size == self.end:
            return []
        spools = self._spool.files()
        spooled: list[Record] = []
        state, end = self.state, self.end
        try:
            for entry in journal.scan(file, end):
                state = apply(state, entry.record)
                self.dedup.add(entry.offset, entry.record)
                self._measure(entry.record)
                end = entry.end
                if entry.record.spool in spools:
                    spooled.append(entry.record)
        except journal.TornTail as torn:
            log.warning("%s: cut a torn tail at byte %d", file.path, torn.offset)
            file.truncate(torn.offset)
        with storage_errors("syncing the journal"):
            os.fdatasync(file.fd)  # its author may have died before the sync, and we are about to rely on it
        self._crc32 = journal.checksum(file, self.end, end, self._crc32)
        self.state = state
        self.end = self._appending = file.end = end
        return spooled
