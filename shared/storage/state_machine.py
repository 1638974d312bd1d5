"""The journal in use: followed as it grows and changes place, folded into the state, and appended to.

Not thread-safe and not locked: the writer calls it with its lock held, `state_if_current` excepted.
"""

from __future__ import annotations

import logging
import os
import time
import zlib
from collections.abc import Sequence

from shared.domain.livetime import Livetime
from shared.domain.records import OPEN, WRITE, Record
from shared.domain.state import State, apply
from shared.errors import JournalDamaged
from shared.storage import checkpoint, journal
from shared.storage.archive import open_first_batch
from shared.storage.checkpoint import Checkpoint
from shared.storage.dedup import DedupIndex
from shared.storage.journal import JournalEntry
from shared.volume.layout import Layout, Volume
from shared.volume.posix import AppendFile, same_file, storage_errors

log = logging.getLogger(__name__)


class StateMachine:
    """State and index as of the journal's durable end; with `measure`, also the strain in the batch."""

    def __init__(self, volume: Volume, *, measure: bool = False) -> None:
        self._volume = volume
        self._livetime = Livetime() if measure else None
        self._file: AppendFile | None = None
        self.state = State()
        self.dedup = DedupIndex()
        self.end = 0  # the journal is folded and durable up to here
        self._sum = 0  # CRC-32 of the journal's bytes up to there
        self._appending = 0  # where the group that is being written will end

    def catch_up(self) -> list[Record]:
        """Fold what has been appended since the last call; cut a torn tail.

        Returns:
            The new segments whose spool still exists: their files may not be in place yet.

        Raises:
            JournalDamaged: the journal, or the volume it describes, cannot be trusted.
            StorageFailed: the volume refused a write.
        """
        path = Layout(self._volume.config).journal
        if self._file is None or not same_file(self._file.fd, path):
            self._open_journal(path)
        return self._replay()

    def append(self, lines: Sequence[bytes], entries: Sequence[JournalEntry], state: State) -> None:
        """Make a decided group durable; `entries` begin at `end`, and `state` is what they lead to.

        Raises:
            StorageFailed: the journal is as it was.
        """
        assert self._file is not None
        self._appending = entries[-1].end
        try:
            self._file.append(lines, "journal")
        finally:
            self._appending = self.end
        self._sum = zlib.crc32(b"".join(lines), self._sum)
        # In this order: a reader without the lock may briefly take the state for outdated, never for newer.
        self.state = state
        self.end = self._appending = entries[-1].end
        for entry in entries:
            self.dedup.add(entry)
            self._measure(entry.record)

    def checkpoint(self) -> Checkpoint:
        """What is known now, for the next start; to be kept once all files of the batch are durable."""
        stretches = self._livetime.spans() if self._livetime else None
        return Checkpoint(self.state.batch, self.end, self._sum, self.state, self.dedup.snapshot(), stretches)

    @property
    def longest_span(self) -> float:
        """The longest stretch of strain in the batch, seconds; 0 if it is not measured."""
        return self._livetime.longest_span if self._livetime else 0.0

    def _measure(self, record: Record) -> None:
        if self._livetime is None:
            return
        if record.kind == OPEN:
            self._livetime = Livetime()
        elif record.kind == WRITE and record.t0 is not None and record.dt:
            self._livetime.add((record.detector, record.channel), record.t0, record.dt, record.samples)

    def record(self, kind: str, **fields: object) -> Record:
        """A record of a decision other than about a segment: it carries the batch's counts at that moment."""
        state = self.state
        return Record("info", state.segments, state.bytes, "", utc_now(), kind, self.end, **fields)  # type: ignore[arg-type]

    def first_record_of_next_batch(self) -> Record:
        """The first record of the batch after this one."""
        state, seen = self.state, self.dedup
        spools = self._volume.spools()
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
            watermarks={spool: mark for spool, mark in seen.watermarks.items() if spool in spools},
            previous=state.closing if seen.has_keys else state.previous,
        )

    def try_state(self) -> State | None:
        """The state, unless another process has appended since (then None). Needs no lock and never waits."""
        file, state, end = self._file, self.state, self.end
        try:
            if file is None or not same_file(file.fd, Layout(self._volume.config).journal):
                return None
            size = os.fstat(file.fd).st_size
        except OSError:  # closed at this moment, by a cleanall
            return None
        # In between stands a group of ours that is being written: not acknowledged, so not counted yet.
        return state if end <= size <= max(end, self._appending) else None

    def close(self) -> None:
        """Close the journals."""
        self._file = None
        self.dedup.close()

    def _open_journal(self, path: str) -> None:
        """Open the journal now in place: at the start, and after another writer's or our own cleanall."""
        starting = self._file is None
        if not starting:
            self._replay()  # what was added before the batch was filed away; its files went along
        if not os.path.exists(path) or not os.path.getsize(path):
            open_first_batch(self._volume, self.first_record_of_next_batch())
        with storage_errors("opening the journal"):
            file = AppendFile(path)
        first = journal.read_record(file, 0)
        if first is None or first.kind != OPEN:
            raise JournalDamaged(f"{path}: damaged at byte 0")
        if starting or first.batch != self.state.batch + 1:  # else it follows the batch that is known
            self.dedup.close()
            self.dedup = DedupIndex()
            previous = self._previous(first.previous) if first.previous else None
            kept = checkpoint.load(Layout(self._volume.config).checkpoint, file, first.batch)
            if kept is not None and (self._livetime is None or kept.spans is not None):
                self._resume(kept, file, previous)
                return
            if previous is not None:
                self.dedup.begin(previous)
                for entry in journal.scan(previous):
                    self.dedup.add(entry)
        self.dedup.begin(file)
        self._file = file
        self.end = self._sum = self._appending = 0

    def _resume(self, kept: Checkpoint, file: AppendFile, previous: AppendFile | None) -> None:
        log.info("going on from the checkpoint at byte %d of the journal", kept.end)
        if self._livetime is not None and kept.spans is not None:
            self._livetime = Livetime.from_spans(kept.spans)
        self.dedup.resume(kept.dedup, file, previous)
        self._file = file
        self.state = kept.state
        self.end = self._appending = kept.end
        self._sum = kept.crc32

    def _previous(self, archive: str) -> AppendFile | None:
        """The journal of the batch before the open one, whose keys are still recognised."""
        path = os.path.join(self._volume.archive(archive), self._volume.config.log_name)
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
        spools = self._volume.spools()
        spooled: list[Record] = []
        state, end, note = self.state, self.end, self.dedup.add
        try:
            for entry in journal.scan(file, end):
                state = apply(state, entry.record)
                note(entry)
                self._measure(entry.record)
                end = entry.end
                if entry.record.spool in spools:
                    spooled.append(entry.record)
        except journal.TornTail as torn:
            log.warning("%s: cut a torn tail at byte %d", file.path, torn.offset)
            file.truncate(torn.offset)
        with storage_errors("syncing the journal"):
            os.fdatasync(file.fd)  # who wrote it may have died before the sync, and we are about to rely on it
        self._sum = journal.checksum(file, self.end, end, self._sum)
        self.state = state
        self.end = self._appending = file.end = end
        return spooled


def utc_now() -> str:
    """The time as the log writes it."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
