"""The intake: requests that arrive while a group is being stored form the next group, and share its syncs."""

from __future__ import annotations

import asyncio
import logging
import os
import queue
import threading
from collections.abc import Awaitable, Callable, Sequence
from typing import NamedTuple

from shared import metrics
from shared.config import StoreConfig
from shared.domain.commit import CommitRequest, CommitResult
from shared.domain.segment import parse
from shared.errors import BufferFrozen, Busy, DatastoreError, Recovering
from shared.ingest.spool_writer import SpoolPosition, SpoolWriter
from shared.volume.layout import Layout, Volume

log = logging.getLogger(__name__)

GROUP_BYTES = 4 << 20  # a group this large gains nothing more from sharing its syncs, and others wait for it
Commit = Callable[[Sequence[CommitRequest]], list[CommitResult]]


class _PendingSegment(NamedTuple):
    payload: bytes
    about: tuple[str, str, float, float, int]  # detector, channel, t0, dt, samples
    key: str
    loop: asyncio.AbstractEventLoop
    future: asyncio.Future[CommitResult]


class GroupCommitter:
    """Stores segments in groups, on one thread of its own that starts with the first segment.

    Args:
        config: the configuration.
        commit: the writer's `commit`, in this process or across HTTP.
    """

    def __init__(self, config: StoreConfig, commit: Commit) -> None:
        self._config = config
        self._commit = commit
        self._volume = Volume(config)
        self._spool = SpoolWriter(self._volume)
        self._queue: queue.SimpleQueue[_PendingSegment | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._starting = threading.Lock()
        metrics.QUEUE.set_function(self._queue.qsize)

    def submit(self, payload: bytes, key: str = "") -> Awaitable[CommitResult]:
        """Store one segment; when what this returns has been awaited it is durable, counted and visible.

        Not a coroutine, which would hold on to the samples while it waits: they take four times the payload's room.

        Args:
            payload: the body as received; it becomes the file.
            key: idempotency key; the same key again is answered like the first time.

        Raises:
            BadSegment: it is not a segment.
            BufferFrozen, StorageFailed: it is not stored.
            Busy: the queue is full (not stored), or the writer did not answer in time (stored once, or not).
            Recovering, JournalDamaged: it is not stored.
        """
        segment = parse(payload, self._config.max_samples)
        if self._queue.qsize() >= self._config.queue_length:
            raise Busy(f"{self._config.queue_length} segments are waiting already.")
        if self._thread is None:
            self._start()
        loop = asyncio.get_running_loop()
        future: asyncio.Future[CommitResult] = loop.create_future()
        about = segment.detector, segment.channel, segment.t0, segment.dt, len(segment.h)
        self._queue.put(_PendingSegment(payload, about, key, loop, future))
        return future

    def check(self) -> None:
        """Raise Recovering unless there is a spool to write to: the writer makes it on a new volume."""
        if not os.access(Layout(self._config).spool, os.W_OK):
            raise Recovering(f"{Layout(self._config).spool} is not there, or not writable.")

    def close(self) -> None:
        """Finish what is queued and give the spool up."""
        with self._starting:
            if self._thread is not None:
                self._queue.put(None)
                self._thread.join()
                self._thread = None
        self._spool.close()

    def _start(self) -> None:
        with self._starting:
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="intake", daemon=True)
                self._thread.start()

    def _run(self) -> None:
        while (first := self._queue.get()) is not None:
            group = [first]
            last = False
            size = len(first.payload)
            while len(group) < self._config.group_size and size < GROUP_BYTES:
                try:
                    item = self._queue.get_nowait()
                except queue.Empty:
                    break
                if item is None:
                    last = True
                    break
                group.append(item)
                size += len(item.payload)
            self._resolve_group(group, self._store_group(group))
            if last:
                return

    def _store_group(self, group: Sequence[_PendingSegment]) -> list[CommitResult | Exception]:
        """Spool a group, have it decided, and pair every member with its outcome."""
        metrics.GROUP_SIZE.observe(len(group))
        try:
            with metrics.SPOOL_SECONDS.time():
                places = self._spool.store([item.payload for item in group])
            submissions = [
                _submission(item, place)
                for item, place in zip(group, places, strict=True)
                if isinstance(place, SpoolPosition)
            ]
            verdicts = iter(self._decide(submissions))
        except DatastoreError as error:
            return [error] * len(group)
        except Exception as error:  # a bug must not stop the intake
            log.exception("storing a group of %d segments failed", len(group))
            return [error] * len(group)
        return [place if isinstance(place, Exception) else _outcome(next(verdicts)) for place in places]

    def _decide(self, submissions: Sequence[CommitRequest]) -> list[CommitResult]:
        try:
            with metrics.COMMIT_SECONDS.time():
                verdicts = self._commit(submissions) if submissions else []
        except Busy:
            # Perhaps it was decided: then the writer needs what is staged. Or the question still waits in a writer that
            # is held up, to be decided when the clients' keys are forgotten: from this spool it must not be.
            self._spool.abandon()
            raise
        except DatastoreError:
            for s in submissions:
                self._volume.discard(s.spool, s.offset)
            raise
        for s, verdict in zip(submissions, verdicts, strict=True):
            if not verdict.is_new:
                self._volume.discard(s.spool, s.offset)
        return verdicts

    @staticmethod
    def _resolve_group(group: Sequence[_PendingSegment], outcomes: Sequence[CommitResult | Exception]) -> None:
        stored = [outcome.size for outcome in outcomes if isinstance(outcome, CommitResult)]
        metrics.SEGMENTS.inc(len(stored))
        metrics.BYTES.inc(sum(stored))
        try:
            group[0].loop.call_soon_threadsafe(_resolve, group, outcomes)
        except RuntimeError:  # the loop has been closed; nobody waits any more
            log.warning("%d segments were decided after the server had stopped", len(group))


def _resolve(group: Sequence[_PendingSegment], outcomes: Sequence[CommitResult | Exception]) -> None:
    for item, outcome in zip(group, outcomes, strict=True):
        if item.future.done():  # the client has gone
            continue
        if isinstance(outcome, Exception):
            item.future.set_exception(outcome)
        else:
            item.future.set_result(outcome)


def _submission(item: _PendingSegment, place: SpoolPosition) -> CommitRequest:
    return CommitRequest(place.spool, place.offset, place.size, place.crc32, item.key, *item.about)


def _outcome(verdict: CommitResult) -> CommitResult | Exception:
    if verdict.code == "FROZEN":
        return BufferFrozen()
    return Busy("The segment was given up.") if verdict.code else verdict
