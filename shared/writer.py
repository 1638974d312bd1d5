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

from shared import checkpoint, journal
from shared.archive import archive_batch
from shared.config import Config
from shared.errors import DatastoreError, JournalDamaged, Recovering, StorageFailed
from shared.failpoints import failpoint
from shared.journal import Entry
from shared.ledger import Ledger, utc_now
from shared.policy import Policy
from shared.posix import locked, storage_errors, sync_volume, try_lock
from shared.publisher import Publisher
from shared.state import CLEAN, FROZEN, OPERATIONAL, UPDATE, WRITE, Record, State, apply, name_of
from shared.submission import Submission, Verdict
from shared.volume import Volume

log = logging.getLogger(__name__)


AUTO = "auto"  # user and token of a batch that froze by itself
_NEVER = Policy()
_REFUSED = Verdict(code="FROZEN")
_GIVEN_UP = Verdict(code="BUSY")  # its ingest gave up on it, or its spool is gone: nobody waits for this verdict


class Done(NamedTuple):
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

    def __init__(self, config: Config, patience: float = 10.0, policy: Policy = _NEVER) -> None:
        self.config = config
        self.volume = Volume(config)
        self.publisher = Publisher(self.volume)
        self.policy = policy
        self._ledger = Ledger(self.volume, measure=self._measures)
        self._patience = patience
        self._mutex = threading.Lock()
        self._lock_fd = -1
        self._kept = (0, 0)  # batch and offset of the newest checkpoint
        self._complaint: DatastoreError | None = Recovering("The store is replaying its journal.")
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
                    self._lock_fd = os.open(self.config.lock_path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC)
            with self._decision(deep=True):
                state = self._ledger.state
                if not self.volume.fs.isdir(self.volume.data):
                    if state.n_itm:
                        raise JournalDamaged(f"{self.volume.data}: missing, the journal counts {state.n_itm} files")
                    self.volume.fs.makedirs(self.volume.data)
                self.publisher.views_if_due(state)
                self._freeze_if_due()
        except DatastoreError as error:
            self._complaint = error
            raise
        self._complaint = None

    def close(self) -> None:
        """Trim what can be trimmed and close the files; the writer may be opened again."""
        if self._complaint is None:
            with contextlib.suppress(DatastoreError):
                self.trim()
                self.checkpoint_if_due(1)
        self._complaint = Recovering("The store is stopping.")
        with self._mutex:
            self._ledger.close()
            self._ledger = Ledger(self.volume, measure=self._measures)
            if self._lock_fd >= 0:
                os.close(self._lock_fd)
                self._lock_fd = -1

    def check(self) -> None:
        """Raise what stands in the way of decisions: Recovering, JournalDamaged or StorageFailed."""
        if self._complaint is not None:
            raise self._complaint

    # -- decisions --------------------------------------------------------------------------------------------

    def commit(self, submissions: Sequence[Submission]) -> list[Verdict]:
        """Decide about a group; on return every fresh segment is durable, counted and visible.

        Raises:
            StorageFailed: the journal could not be written; nothing of the group is stored.
            Busy, Recovering, JournalDamaged: no decision can be made now.
        """
        self.check()
        with self._decision():
            verdicts, lines, entries, state = self._decide(submissions)
            if entries:
                self._ledger.append(lines, entries, state)
                self.publisher.files(entry.record for entry in entries)
                failpoint("publish.done")
                self.publisher.tally(state)
                self._freeze_if_due()
        failpoint("commit.reply")
        return verdicts

    def update(self, user: str, token: str, dstatus: str = FROZEN, key: str = "") -> Done:
        """Freeze the batch (or set its state explicitly), recording who asked; a repeated `key` changes nothing.

        Raises:
            StorageFailed, Busy, Recovering, JournalDamaged: the state is as before.
        """
        self.check()
        with self._decision():
            if not (key and self._ledger.seen.by_key(key, UPDATE)):
                self._append_one(self._ledger.record(UPDATE, key=key, dstatus=dstatus, user=user, token=token))
                failpoint("freeze.synced")
                self.publisher.views(self._ledger.state)
            done = Done(self._ledger.state)
        self.notify()
        return done

    def cleanall(self, key: str = "") -> Done:
        """File the batch away under the time of day and open the next one; a repeated `key` changes nothing.

        Raises:
            StorageFailed: undecided, or decided and finished by the next decision or restart.
            Busy, Recovering, JournalDamaged: nothing has changed.
        """
        self.check()
        sync_volume(self.config.volume_root)  # most of the work, before anyone has to wait for it
        with self._decision():
            if key and (earlier := self._ledger.seen.by_key(key, CLEAN)):
                return Done(self._ledger.state, earlier.archive)
            if not self.publisher.done:
                raise StorageFailed("The volume does not take the batch's last files; nothing was archived.")
            sync_volume(self.config.volume_root)  # from here on the batch needs no spool
            archive = self.volume.free_archive_name(time.strftime("%H %M %d"))
            self._append_one(self._ledger.record(CLEAN, key=key, archive=archive))
            failpoint("clean.planned")
            self._catch_up()
            self.publisher.views_if_due(self._ledger.state)
            done = Done(self._ledger.state, archive)
        self.notify()
        return done

    def refresh_views(self) -> None:
        """Show the views if decisions have been made since they were shown; nothing waits for that.

        Raises:
            StorageFailed, Busy, Recovering, JournalDamaged: they are as they were.
        """
        self.check()
        if self.publisher.views_due:
            with self._decision():
                self.publisher.views_if_due(self._ledger.state)

    def trim(self) -> None:
        """Remove the spools whose owners are done with them, once all they hold is durable as files.

        Raises:
            StorageFailed: the volume could not be synced; the spools stay.
            Busy, Recovering, JournalDamaged: nothing has changed.
        """
        self.check()
        with self._decision():
            self.publisher.views_if_due(self._ledger.state)
            closed = self._close_spools() if self.publisher.done else []
        if not closed:
            return
        failpoint("trim.closed")
        sync_volume(self.config.volume_root)
        failpoint("trim.synced")
        with storage_errors("removing a spool"):
            for spool in closed:
                with contextlib.suppress(FileNotFoundError):  # another writer trims too
                    self.volume.remove_spool(spool)
        with self._mutex:
            self._ledger.seen.forget_spools(set(self.volume.spools()))

    def checkpoint_if_due(self, size: int = 0) -> None:
        """Keep what the journal comes to, if it has grown by `size` bytes since (by default the configured number).

        Raises:
            StorageFailed: it is not kept.
            Busy, Recovering, JournalDamaged: the same.
        """
        self.check()
        batch, end = self._kept
        ledger = self._ledger
        if ledger.end - (end if batch == ledger.state.batch else 0) < (size or self.config.checkpoint_size):
            return
        with self._decision():
            if not self.publisher.done:
                return
            kept = self._ledger.checkpoint()
        sync_volume(self.config.volume_root)  # from here on its segments need no spool
        checkpoint.save(self.config.checkpoint_path, kept)
        self._kept = kept.batch, kept.end

    # -- reading ----------------------------------------------------------------------------------------------

    def state(self) -> State:
        """The state, exact at the time of the call: it includes every decision acknowledged before, by anyone.

        Raises:
            Busy, Recovering, JournalDamaged: it cannot be told.
        """
        state = self.state_if_current()
        if state is not None:
            return state
        with self._decision():
            return self._ledger.state

    def state_if_current(self) -> State | None:
        """The state without waiting for anything; None where another process has appended since.

        Raises:
            Recovering, JournalDamaged, StorageFailed: the store is not open.
        """
        self.check()
        return self._ledger.state_if_current()

    @property
    def known_state(self) -> State:
        """The state as of the last decision made or read here: never waits, may be a moment old."""
        return self._ledger.state

    @property
    def durable_end(self) -> int:
        """The offset up to which the open batch's journal is durable."""
        return self._ledger.end

    # -- the parts of a decision ------------------------------------------------------------------------------

    @contextlib.contextmanager
    def _decision(self, *, deep: bool = False) -> Iterator[None]:
        with self._mutex, locked(self._lock_fd, self._patience):
            try:
                self._catch_up(deep=deep)
            except JournalDamaged as error:
                self._complaint = error
                raise
            self.publisher.retry()
            yield

    def _catch_up(self, *, deep: bool = False) -> None:
        """Learn what was decided since, by us before a crash or by another writer, and finish what it began."""
        ledger = self._ledger
        before = ledger.state
        records = ledger.catch_up()
        while ledger.state.closing:  # its files were in place and synced before that was decided, and may have moved
            archive_batch(self.volume, ledger.state, ledger.opening())
            records = ledger.catch_up()
        if ledger.state is not before:
            self.publisher.views_due = True
        self.publisher.restore(records, deep=deep)

    def _append_one(self, record: Record) -> None:
        line = journal.encode(record)
        start, state = self._ledger.end, apply(self._ledger.state, record)
        self.publisher.stage_views(state)
        self._ledger.append([line], [Entry(start, start + len(line), record)], state)

    @property
    def _measures(self) -> bool:
        return self.policy.auto and self.policy.min_seconds > 0

    def _freeze_if_due(self) -> None:
        """Freeze the batch if the policy wants that, within the decision that brought it so far.

        So no later group enters, and a cleanall cannot come between. What is stored is answered as stored, whatever
        happens here: a freeze that cannot be written is due again with the next group, or at the next start.
        """
        state = self._ledger.state
        if not self.policy.auto or state.dstatus != OPERATIONAL:
            return
        if not self.policy.allows(state.buff_size, self._ledger.longest):
            return
        try:
            self._append_one(self._ledger.record(UPDATE, dstatus=FROZEN, user=AUTO, token=AUTO))
            failpoint("freeze.synced")
            self.publisher.views(self._ledger.state)
        except StorageFailed as error:
            log.warning("the batch is due to be frozen, later: %s", error)
        else:
            self.notify()

    def _decide(self, submissions: Sequence[Submission]) -> tuple[list[Verdict], list[bytes], list[Entry], State]:
        state, group = self._ledger.state, self._ledger.end
        verdicts: list[Verdict] = []
        lines: list[bytes] = []
        entries: list[Entry] = []
        here: dict[str | tuple[str, int], Verdict] = {}  # decided within this very group
        open_spools = {spool for spool in {s.spool for s in submissions} if self._accepts(spool)}
        number = max(time.time_ns(), state.last + 1)
        now = utc_now()
        offset = group
        for s in submissions:
            verdict = here.get((s.spool, s.at)) or self._earlier(s)
            if verdict is None and (same_key := here.get(s.key)) is not None:
                verdict = Verdict(same_key.name, same_key.size)
            if verdict is None and state.dstatus != OPERATIONAL:
                verdict = _REFUSED
            if verdict is None and s.spool not in open_spools:
                verdict = _GIVEN_UP
            if verdict is None:
                name = name_of(number)
                number += 1
                record = Record(
                    "info", state.n_itm, s.size, name, now, WRITE, group, s.key,
                    s.spool, s.at, s.sum, s.detector, s.channel, s.t0, s.dt, s.n,
                )  # fmt: skip
                state = apply(state, record)
                line = journal.encode(record)
                lines.append(line)
                entries.append(Entry(offset, offset + len(line), record))
                offset += len(line)
                verdict = here[(s.spool, s.at)] = Verdict(name, s.size, fresh=True)
                if s.key:
                    here[s.key] = verdict
            verdicts.append(verdict)
        return verdicts, lines, entries, state

    def _earlier(self, s: Submission) -> Verdict | None:
        """The verdict this submission, or another with its key, has had before."""
        seen = self._ledger.seen
        passed = s.at < seen.marks.get(s.spool, 0)
        if passed and (known := seen.by_place(s.spool, s.at)):
            return Verdict(known[0], known[1], fresh=True)
        if s.key and (record := seen.by_key(s.key, WRITE)):
            return Verdict(record.name, record.size)
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
