"""The writer: decides what is in the batch, one group at a time, and makes each decision durable and visible.

Any number of writers, in one process or several, may serve one volume. The lock is taken for each decision, and under
it the journal's new tail is read first, so every decision is made on all earlier ones. Nothing is decided from memory
alone. The order within a decision is fixed:

    lock, catch up, decide, append to the journal and sync, publish files, publish the counts, unlock, answer

The second `fdatasync` of a segment, that of the decision, is in `StateMachine.append`.
"""

from __future__ import annotations

import contextlib
import copy
import logging
import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence

from shared.config import StoreConfig
from shared.domain.commit import CommitRequest, CommitResult, Committed
from shared.domain.freeze_policy import FreezePolicy
from shared.domain.records import CLEAN, MAX_FILE_NUMBER, MIN_FILE_NUMBER, UPDATE, Record, utc_now
from shared.domain.request_key import ANONYMOUS, Origin
from shared.domain.state import FROZEN, OPERATIONAL, State, apply
from shared.errors import Busy, ClockWrong, DatastoreError, JournalDamaged, Recovering, StorageFailed
from shared.failpoints import failpoint
from shared.storage import archive, checkpoint, verification
from shared.storage.decide import decide
from shared.storage.publisher import Publisher
from shared.storage.state_machine import StateMachine
from shared.storage.verification import Missing
from shared.volume.layout import Layout, create_folders
from shared.volume.posix import file_lock, require_space, storage_errors, sync_filesystem
from shared.volume.spool import SpoolDirectory

log = logging.getLogger(__name__)

PENDING_TOLERANCE = 10.0  # seconds for which stored segments may be invisible before readiness says so
AUTO = "auto"  # user and token of a batch that froze by itself
_NEVER = FreezePolicy()


class Writer:
    """Decisions over one volume. Safe to call from several threads; one decision is made at a time.

    Args:
        config: the configuration.
        lock_timeout: how long to wait for another process's lock, in seconds.
        policy: when a batch may freeze; it matters here only where the batch also freezes by itself.

    Attributes:
        on_change: called after each freeze and cleanall.
    """

    def __init__(self, config: StoreConfig, lock_timeout: float = 10.0, policy: FreezePolicy = _NEVER) -> None:
        self.config = config
        self.layout = Layout(config)
        self.policy = policy
        self.on_change: Callable[[], object] = lambda: None
        self.on_open: Callable[[], object] = lambda: None  # under the lock, before it decides anything
        self._spool = SpoolDirectory(self.layout)
        self._publisher = Publisher(self.layout, self._spool)
        self._machine = self._new_machine()
        self._lock_timeout = lock_timeout
        self._mutex = threading.Lock()
        self._lock_fd = -1
        self._last_checkpoint = (0, 0)  # batch and offset
        self._not_ready: DatastoreError | None = Recovering("The store is replaying its journal.")

    # -- lifecycle --------------------------------------------------------------------------------------------

    def open(self) -> None:
        """Recover: replay the journal, finish what a crash cut off, restore files and views.

        Raises:
            JournalDamaged: nothing may be written until an operator has looked.
            StorageFailed: the volume cannot be written; calling again may succeed.
        """
        data = self._publisher.data
        try:
            create_folders(self.layout)
            if self._lock_fd < 0:
                with storage_errors("opening the lock"):
                    self._lock_fd = os.open(self.layout.lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC)
            with self._mutex, file_lock(self._lock_fd, self._lock_timeout):
                if self._machine.state.batch == 0:  # else a journal that is missing now has been lost
                    archive.open_first_batch(self.layout, data, self._machine.first_record_of_next_batch())
            with self._transaction(deep=True):
                self.on_open()
                state = self._machine.state
                if not data.exists():
                    if state.segments:
                        raise JournalDamaged(f"{data.folder}: missing, the journal counts {state.segments} files")
                    data.create()
                data.require_file_system_of(self.layout.spool)
                self._publisher.publish_views_if_due(state)
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
            self._machine = self._new_machine()
            if self._lock_fd >= 0:
                os.close(self._lock_fd)
                self._lock_fd = -1

    def check(self) -> None:
        """Raise what keeps the writer from deciding: Recovering, JournalDamaged or StorageFailed."""
        if (not_ready := self._not_ready) is not None:
            raise copy.copy(not_ready)  # an error keeps the frames of everyone who has raised it

    def check_ready(self) -> None:
        """Raise what keeps it from being ready: as `check`, a full or read-only volume, or invisible segments."""
        self.check()
        require_space(os.path.dirname(self.layout.journal), self.layout.data)
        if self._publisher.pending_seconds > PENDING_TOLERANCE:
            raise StorageFailed(
                f"{self._publisher.pending} stored segments are not visible; see why {self.layout.data} takes no files."
            )

    # -- decisions --------------------------------------------------------------------------------------------

    def commit(self, requests: Sequence[CommitRequest]) -> list[CommitResult]:
        """Decide about a group; on return every new segment is durable, counted and visible.

        Raises:
            StorageFailed: the journal could not be written; nothing of the group is stored.
            Busy, Recovering, JournalDamaged: no decision can be made now.
        """
        self.check()
        with self._transaction():
            machine = self._machine
            clock = time.time_ns()
            if not MIN_FILE_NUMBER <= max(clock, machine.state.last) < MAX_FILE_NUMBER - len(requests):
                raise ClockWrong(f"The store's clock says {clock} ns since 1970; set it right.")
            open_spools = {spool for spool in {r.spool for r in requests} if self._spool.accepts(spool)}
            results, records = decide(
                requests, machine.state, machine.dedup, open_spools,
                room_for_keys=self.config.max_keys - machine.dedup.key_count,
                group=machine.end, now=utc_now(), clock=clock,
            )  # fmt: skip
            if records:
                state = machine.append(records)
                self._publisher.publish_files(records)
                failpoint("publish.done")
                self._publisher.publish_counters(state)
                self._freeze_if_due()
        failpoint("commit.reply")
        return results

    def set_status(
        self, user: str, token: str, status: str = FROZEN, origin: Origin = ANONYMOUS, batch: int | None = None
    ) -> Committed:
        """Freeze the batch, or set its state explicitly, with the operator on record; only `batch`, if it is given.

        A repetition, by the origin's key, changes nothing: the first decision is returned, with the state now.

        Raises:
            BatchChanged, StorageFailed, Busy, Recovering, JournalDamaged: the state is as before.
        """
        self.check()
        with self._transaction():
            if earlier := self._machine.dedup.decision(UPDATE, origin):
                return self._committed(earlier.batch, repeated=True)
            self._machine.require_open(batch)
            self._append_one(self._machine.record(UPDATE, **origin.recorded, status=status, user=user, token=token))
            failpoint("freeze.synced")
            self._publisher.publish_staged_views(self._machine.state)
            done = self._committed(self._machine.state.batch)
        log.info("batch %d set to %s for %r", done.batch, status, user)
        self.on_change()
        return done

    def archive_batch(self, origin: Origin = ANONYMOUS, batch: int | None = None) -> Committed:
        """Archive the batch, only `batch` if it is given, under the time of day and open the next one.

        A repetition, by the origin's key, changes nothing: the first decision is returned, with the state now.

        Raises:
            BatchChanged, StorageFailed, Busy, Recovering, JournalDamaged: nothing has changed.
        """
        self.check()
        self.verify_files()  # so that what is missing is named in the archive
        sync_filesystem(self.layout.root)  # most of the work, before anyone has to wait for it
        with self._transaction():
            if earlier := self._machine.dedup.decision(CLEAN, origin):
                return self._committed(earlier.batch, earlier.archive, repeated=True)
            self._machine.require_open(batch)
            if not self._publisher.done:
                raise StorageFailed("The volume does not take the batch's last files; nothing was archived.")
            sync_filesystem(self.layout.root)  # from here on the batch needs no spool
            name = archive.free_archive_name(self.layout, time.strftime("%H %M %d"))
            cleaned = self._machine.state.batch
            self._append_one(self._machine.record(CLEAN, **origin.recorded, archive=name))
            failpoint("clean.planned")
            try:
                self._catch_up()
                self._publisher.publish_views_if_due(self._machine.state)
            except (StorageFailed, Busy) as error:
                # Decided: the batch is archived, and whoever takes the lock next finishes it. A refusal would have the
                # operator send again, and archive the next batch too.
                log.error("the archive %r is decided and not finished; the next request finishes it: %s", name, error)
            done = self._committed(cleaned, name)
        log.info("batch %d archived as %r", cleaned, name)
        self.on_change()
        return done

    def _committed(self, batch: int, archive: str = "", *, repeated: bool = False) -> Committed:
        state = self._machine.state
        return Committed(state.segments, state.bytes, state.status, batch, archive, repeated)

    # -- maintenance ------------------------------------------------------------------------------------------

    @property
    def pending_segments(self) -> int:
        """Stored segments whose files the volume does not take now."""
        return self._publisher.pending

    @property
    def key_count(self) -> int:
        """Idempotency keys of segments in memory."""
        return self._machine.dedup.key_count

    @property
    def missing_segments(self) -> int:
        """Acknowledged segments found neither as a file nor in a spool."""
        return len(self._publisher.missing)

    def verify_files(self) -> None:
        """Compare the batch's files with the journal, by name and size; restore what a spool holds, and name the rest.

        The files are listed without the lock, which is taken again only where the list differs.

        Raises:
            StorageFailed, Busy, Recovering, JournalDamaged: the files cannot be compared now.
        """
        self.check()
        with self._transaction():
            state = self._machine.state
        if self._publisher.data.inventory(state.last) == state.inventory and not self._publisher.missing:
            return
        with self._transaction():
            self._publisher.restore_missing(self._machine.stored_records())
            names = sorted(self._publisher.missing)
            verification.publish(self.layout, Missing(self._machine.state.batch, len(names), names))
        if names:
            log.error("%d stored segments are missing; %s names them", len(names), self.layout.missing)

    def publish_views(self) -> None:
        """Publish the views if decisions have been made since the last time.

        Raises:
            StorageFailed, Busy, Recovering, JournalDamaged: they are as they were.
        """
        self.check()
        if self._publisher.views_due:
            with self._transaction():
                self._publisher.publish_views_if_due(self._machine.state)

    def trim(self) -> None:
        """Remove the spool files whose ingest processes are done with them, once their payloads are durable as files.

        Raises:
            StorageFailed: the volume could not be synced; the spool files stay.
            Busy, Recovering, JournalDamaged: nothing has changed.
        """
        self.check()
        with self._transaction():
            self._publisher.publish_views_if_due(self._machine.state)
            closed = self._spool.close_abandoned() if self._publisher.done else []
        if not closed:
            return
        failpoint("trim.closed")
        sync_filesystem(self.layout.root)
        failpoint("trim.synced")
        for spool in closed:
            self._spool.remove(spool)
        with self._mutex:
            self._machine.dedup.forget_spools(set(self._spool.files()))

    def checkpoint_if_due(self, size: int = 0) -> None:
        """Save a checkpoint if the journal has grown by `size` bytes since the last one (default: as configured).

        Raises:
            StorageFailed, Busy, Recovering, JournalDamaged: none is saved.
        """
        self.check()
        batch, end = self._last_checkpoint
        machine = self._machine
        if machine.end - (end if batch == machine.state.batch else 0) < (size or self.config.checkpoint_size):
            return
        with self._transaction():
            if not self._publisher.done:
                return
            saved = self._machine.checkpoint()
        sync_filesystem(self.layout.root)  # from here on its segments need no spool
        checkpoint.save(self.layout.checkpoint, saved)
        self._last_checkpoint = saved.batch, saved.end

    # -- reading ----------------------------------------------------------------------------------------------

    def state(self) -> State:
        """The state, exact at the time of the call: it includes every decision acknowledged before, by any writer.

        Raises:
            Busy, Recovering, JournalDamaged: it is not known now.
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

    def _new_machine(self) -> StateMachine:
        measure = self.policy.auto and self.policy.min_seconds > 0
        return StateMachine(self.layout, self._spool, measure=measure)

    @contextlib.contextmanager
    def _transaction(self, *, deep: bool = False) -> Iterator[None]:
        with self._mutex, file_lock(self._lock_fd, self._lock_timeout):
            try:
                self._catch_up(deep=deep)
            except JournalDamaged as error:
                self._not_ready = error
                raise
            self._publisher.retry()
            yield

    def _catch_up(self, *, deep: bool = False) -> None:
        """Read what was decided since, by us before a crash or by another writer, and finish what it began."""
        machine = self._machine
        before = machine.state
        records = machine.catch_up()
        while machine.state.closing:  # the batch's files were in place and synced before that was decided
            archive.archive_batch(self.layout, machine.state, machine.first_record_of_next_batch())
            records = machine.catch_up()
        if machine.state is not before:
            self._publisher.invalidate_views()
        if machine.state.batch != before.batch:
            self._publisher.missing.clear()
        self._publisher.restore(records, deep=deep)

    def _append_one(self, record: Record) -> None:
        self._publisher.stage_views(apply(self._machine.state, record))
        self._machine.append([record])

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
            self._publisher.publish_staged_views(self._machine.state)
        except StorageFailed as error:
            log.warning("the batch is due to be frozen; the next group tries again: %s", error)
        else:
            self.on_change()
