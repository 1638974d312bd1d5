"""The writer: decides what is in the batch, one group at a time, and makes each decision durable and visible.

Any number of `Writer`s, in one process or several, may serve one volume: the lock is taken for each decision,
and under it the journal's new tail is read first, so that every decision is made on all earlier ones. Nothing is
decided from memory alone. The order within a decision is fixed:

    lock, catch up, decide, append to the journal and sync, publish files, publish the counts, unlock, answer
"""

from __future__ import annotations

import contextlib
import logging
import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from shared.config import StoreConfig
from shared.domain.commit import CommitRequest, CommitResult
from shared.domain.freeze_policy import FreezePolicy
from shared.domain.records import CLEAN, UPDATE, WRITE, Record, file_name, utc_now
from shared.domain.state import FROZEN, OPERATIONAL, State, apply
from shared.errors import DatastoreError, JournalDamaged, Recovering, StorageFailed
from shared.failpoints import failpoint
from shared.storage import checkpoint, journal
from shared.storage.archive import archive_batch
from shared.storage.journal import JournalEntry
from shared.storage.publisher import Publisher
from shared.storage.state_machine import StateMachine
from shared.volume.layout import Layout, Volume
from shared.volume.posix import file_lock, storage_errors, sync_filesystem, try_lock

log = logging.getLogger(__name__)


AUTO = "auto"  # user and token of a batch that froze by itself
_NEVER = FreezePolicy()
_REFUSED = CommitResult(code="FROZEN")
_GIVEN_UP = CommitResult(code="BUSY")  # its ingest gave up on it, or its spool is gone: nobody waits for this verdict


class Committed(NamedTuple):
    """A decided request: the state after it, and the archive's name for cleanall."""

    state: State
    archive: str = ""


class Writer:
    """Decisions over one volume. Safe to call from several threads; one decision is made at a time.

    Args:
        config: the configuration.
        patience: how long to wait for another process's lock, seconds.
        policy: when a batch may freeze; it matters here only where it also freezes by itself.
    """

    def __init__(self, config: StoreConfig, lock_timeout: float = 10.0, policy: FreezePolicy = _NEVER) -> None:
        self.config = config
        self.volume = Volume(config)
        self.publisher = Publisher(self.volume)
        self.policy = policy
        self._machine = StateMachine(self.volume, measure=self._measures)
        self._patience = lock_timeout
        self._mutex = threading.Lock()
        self._lock_fd = -1
        self._last_checkpoint = (0, 0)  # batch and offset of the newest checkpoint
        self._not_ready: DatastoreError | None = Recovering("The store is replaying its journal.")
        self.notify: Callable[[], object] = lambda: None  # called after each update and cleanall

    # -- lifecycle --------------------------------------------------------------------------------------------

    def open(self) -> None:
        """Recover: fold the journal, finish what a crash cut off, restore files and views.

        Raises:
            JournalDamaged: nothing may be written until an operator has looked.
            StorageFailed: the volume cannot be written; calling again may succeed.
        """
        try:
            self.volume.prepare()
            if self._lock_fd < 0:
                with storage_errors("opening the lock"):
                    self._lock_fd = os.open(Layout(self.config).lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC)
            with self._transaction(deep=True):
                state = self._machine.state
                if not self.volume.fs.isdir(self.volume.data):
                    if state.segments:
                        raise JournalDamaged(f"{self.volume.data}: missing, the journal counts {state.segments} files")
                    self.volume.fs.makedirs(self.volume.data)
                self.publisher.views_if_due(state)
                self._freeze_if_due()
        except DatastoreError as error:
            self._not_ready = error
            raise
        self._not_ready = None

    def close(self) -> None:
        """Trim what can be trimmed and close the files; the writer may be opened again."""
        if self._not_ready is None:
            with contextlib.suppress(DatastoreError):
                self.trim()
                self.checkpoint_if_due(1)
        self._not_ready = Recovering("The store is stopping.")
        with self._mutex:
            self._machine.close()
            self._machine = StateMachine(self.volume, measure=self._measures)
            if self._lock_fd >= 0:
                os.close(self._lock_fd)
                self._lock_fd = -1

    def check(self) -> None:
        """Raise what stands in the way of decisions: Recovering, JournalDamaged or StorageFailed."""
        if self._not_ready is not None:
            raise self._not_ready

    # -- decisions --------------------------------------------------------------------------------------------

    def commit(self, submissions: Sequence[CommitRequest]) -> list[CommitResult]:
        """Decide about a group; on return every fresh segment is durable, counted and visible.

        Raises:
            StorageFailed: the journal could not be written; nothing of the group is stored.
            Busy, Recovering, JournalDamaged: no decision can be made now.
        """
        self.check()
        with self._transaction():
            verdicts, lines, entries, state = self._decide(submissions)
            if entries:
                self._machine.append(lines, entries, state)
                self.publisher.publish_files(entry.record for entry in entries)
                failpoint("publish.done")
                self.publisher.publish_counters(state)
                self._freeze_if_due()
        failpoint("commit.reply")
        return verdicts

    def set_status(self, user: str, token: str, status: str = FROZEN, key: str = "") -> Committed:
        """Freeze the batch (or set its state explicitly), recording who asked; a repeated `key` changes nothing.

        Raises:
            StorageFailed, Busy, Recovering, JournalDamaged: the state is as before.
        """
        self.check()
        with self._transaction():
            if not (key and self._machine.dedup.by_key(key, UPDATE)):
                self._append_one(self._machine.record(UPDATE, key=key, status=status, user=user, token=token))
                failpoint("freeze.synced")
                self.publisher.views(self._machine.state)
            done = Committed(self._machine.state)
        self.notify()
        return done

    def archive_batch(self, key: str = "") -> Committed:
        """File the batch away under the time of day and open the next one; a repeated `key` changes nothing.

        Raises:
            StorageFailed: undecided, or decided and finished by the next decision or restart.
            Busy, Recovering, JournalDamaged: nothing has changed.
        """
        self.check()
        sync_filesystem(self.config.volume_root)  # most of the work, before anyone has to wait for it
        with self._transaction():
            if key and (earlier := self._machine.dedup.by_key(key, CLEAN)):
                return Committed(self._machine.state, earlier.archive)
            if not self.publisher.done:
                raise StorageFailed("The volume does not take the batch's last files; nothing was archived.")
            sync_filesystem(self.config.volume_root)  # from here on the batch needs no spool
            archive = self.volume.free_archive_name(time.strftime("%H %M %d"))
            self._append_one(self._machine.record(CLEAN, key=key, archive=archive))
            failpoint("clean.planned")
            self._catch_up()
            self.publisher.views_if_due(self._machine.state)
            done = Committed(self._machine.state, archive)
        self.notify()
        return done

    def publish_views(self) -> None:
        """Show the views if decisions have been made since they were shown; nothing waits for that.

        Raises:
            StorageFailed, Busy, Recovering, JournalDamaged: they are as they were.
        """
        self.check()
        if self.publisher.views_due:
            with self._transaction():
                self.publisher.views_if_due(self._machine.state)

    def trim(self) -> None:
        """Remove the spools whose owners are done with them, once all they hold is durable as files.

        Raises:
            StorageFailed: the volume could not be synced; the spools stay.
            Busy, Recovering, JournalDamaged: nothing has changed.
        """
        self.check()
        with self._transaction():
            self.publisher.views_if_due(self._machine.state)
            closed = self._close_spools() if self.publisher.done else []
        if not closed:
            return
        failpoint("trim.closed")
        sync_filesystem(self.config.volume_root)
        failpoint("trim.synced")
        with storage_errors("removing a spool"):
            for spool in closed:
                with contextlib.suppress(FileNotFoundError):  # another writer trims too
                    self.volume.remove_spool(spool)
        with self._mutex:
            self._machine.dedup.forget_spools(set(self.volume.spools()))

    def checkpoint_if_due(self, size: int = 0) -> None:
        """Keep what the journal comes to, if it has grown by `size` bytes since (by default the configured number).

        Raises:
            StorageFailed: it is not kept.
            Busy, Recovering, JournalDamaged: the same.
        """
        self.check()
        batch, end = self._last_checkpoint
        ledger = self._machine
        if ledger.end - (end if batch == ledger.state.batch else 0) < (size or self.config.checkpoint_size):
            return
        with self._transaction():
            if not self.publisher.done:
                return
            kept = self._machine.checkpoint()
        sync_filesystem(self.config.volume_root)  # from here on its segments need no spool
        checkpoint.save(Layout(self.config).checkpoint, kept)
        self._last_checkpoint = kept.batch, kept.end

    # -- reading ----------------------------------------------------------------------------------------------

    def state(self) -> State:
        """The state, exact at the time of the call: it includes every decision acknowledged before, by anyone.

        Raises:
            Busy, Recovering, JournalDamaged: it cannot be told.
        """
        state = self.try_state()
        if state is not None:
            return state
        with self._transaction():
            return self._machine.state

    def try_state(self) -> State | None:
        """The state without waiting for anything; None where another process has appended since.

        Raises:
            Recovering, JournalDamaged, StorageFailed: the store is not open.
        """
        self.check()
        return self._machine.try_state()

    @property
    def last_state(self) -> State:
        """The state as of the last decision made or read here: never waits, may be a moment old."""
        return self._machine.state

    @property
    def durable_end(self) -> int:
        """The offset up to which the open batch's journal is durable."""
        return self._machine.end

    # -- the parts of a decision ------------------------------------------------------------------------------

    @contextlib.contextmanager
    def _transaction(self, *, deep: bool = False) -> Iterator[None]:
        with self._mutex, file_lock(self._lock_fd, self._patience):
            try:
                self._catch_up(deep=deep)
            except JournalDamaged as error:
                self._not_ready = error
                raise
            self.publisher.retry()
            yield

    def _catch_up(self, *, deep: bool = False) -> None:
        """Learn what was decided since, by us before a crash or by another writer, and finish what it began."""
        ledger = self._machine
        before = ledger.state
        records = ledger.catch_up()
        while ledger.state.closing:  # its files were in place and synced before that was decided, and may have moved
            archive_batch(self.volume, ledger.state, ledger.first_record_of_next_batch())
            records = ledger.catch_up()
        if ledger.state is not before:
            self.publisher.views_due = True
        self.publisher.restore(records, deep=deep)

    def _append_one(self, record: Record) -> None:
        line = journal.encode(record)
        start, state = self._machine.end, apply(self._machine.state, record)
        self.publisher.stage_views(state)
        self._machine.append([line], [JournalEntry(start, start + len(line), record)], state)

    @property
    def _measures(self) -> bool:
        return self.policy.auto and self.policy.min_seconds > 0

    def _freeze_if_due(self) -> None:
        """Freeze the batch if the policy wants that, within the decision that brought it so far.

        So no later group enters, and a cleanall cannot come between. What is stored is answered as stored, whatever
        happens here: a freeze that cannot be written is due again with the next group, or at the next start.
        """
        state = self._machine.state
        if not self.policy.auto or state.status != OPERATIONAL:
            return
        if not self.policy.allows(state.bytes, self._machine.longest_span):
            return
        try:
            self._append_one(self._machine.record(UPDATE, status=FROZEN, user=AUTO, token=AUTO))
            failpoint("freeze.synced")
            self.publisher.views(self._machine.state)
        except StorageFailed as error:
            log.warning("the batch is due to be frozen, later: %s", error)
        else:
            self.notify()

    def _decide(
        self, submissions: Sequence[CommitRequest]
    ) -> tuple[list[CommitResult], list[bytes], list[JournalEntry], State]:
        state, group = self._machine.state, self._machine.end
        verdicts: list[CommitResult] = []
        lines: list[bytes] = []
        entries: list[JournalEntry] = []
        here: dict[str | tuple[str, int], CommitResult] = {}  # decided within this very group
        open_spools = {spool for spool in {s.spool for s in submissions} if self._accepts(spool)}
        number = max(time.time_ns(), state.last + 1)
        now = utc_now()
        offset = group
        for s in submissions:
            verdict = here.get((s.spool, s.offset)) or self._earlier(s)
            if verdict is None and (same_key := here.get(s.key)) is not None:
                verdict = CommitResult(same_key.name, same_key.size)
            if verdict is None and state.status != OPERATIONAL:
                verdict = _REFUSED
            if verdict is None and s.spool not in open_spools:
                verdict = _GIVEN_UP
            if verdict is None:
                name = file_name(number)
                number += 1
                record = Record(
                    "info", state.segments, s.size, name, now, WRITE, group, s.key,
                    s.spool, s.offset, s.crc32, s.detector, s.channel, s.t0, s.dt, s.samples,
                )  # fmt: skip
                state = apply(state, record)
                line = journal.encode(record)
                lines.append(line)
                entries.append(JournalEntry(offset, offset + len(line), record))
                offset += len(line)
                verdict = here[(s.spool, s.offset)] = CommitResult(name, s.size, is_new=True)
                if s.key:
                    here[s.key] = verdict
            verdicts.append(verdict)
        return verdicts, lines, entries, state

    def _earlier(self, s: CommitRequest) -> CommitResult | None:
        """The verdict this submission, or another with its key, has had before."""
        seen = self._machine.dedup
        passed = s.offset < seen.watermarks.get(s.spool, 0)
        if passed and (known := seen.by_position(s.spool, s.offset)):
            return CommitResult(known[0], known[1], is_new=True)
        if s.key and (record := seen.by_key(s.key, WRITE)):
            return CommitResult(record.name, record.size)
        return _GIVEN_UP if passed else None

    def _accepts(self, spool: str) -> bool:
        try:
            return os.path.exists(self.volume.spool_path(spool))
        except ValueError:
            return False

    def _close_spools(self) -> list[str]:
        """Close every spool whose owner is gone or done; from then on nothing is committed from it."""
        closed = []
        for spool, path in self.volume.spools().items():
            if path.endswith(".log"):
                try:
                    fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
                except FileNotFoundError:  # another writer trims too
                    continue
                try:
                    if not try_lock(fd):
                        continue
                    self.volume.fs.mv(path, self.volume.spool_path(spool, closed=True))
                finally:
                    os.close(fd)
            closed.append(spool)
        return closed
