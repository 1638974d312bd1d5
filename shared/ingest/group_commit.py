"""Group commit: segments that arrive while a group is being stored form the next group, and share its syncs.

A group is spooled (`spool_writer.SpoolWriter.store`: the first `fdatasync`), decided by the writer
(`storage.writer.Writer.commit`: the second), and then every member is answered.
"""

from __future__ import annotations

import asyncio
import logging
import os
import queue
import threading
import time
from collections.abc import Awaitable, Callable, Sequence

import msgspec

from shared import metrics
from shared.config import StoreConfig
from shared.domain import block as blocks
from shared.domain.block import Block
from shared.domain.commit import CommitRequest, CommitResult
from shared.domain.request_key import ANONYMOUS, Origin
from shared.domain.sampling import gps_from_unix
from shared.domain.segment import parse
from shared.errors import BufferFrozen, Busy, DatastoreError, KeyReused, KeysFull, OutcomeUnknown, Recovering
from shared.ingest.spool_writer import SpoolWriter
from shared.volume.layout import Layout
from shared.volume.posix import require_space
from shared.volume.spool import SpoolDirectory, SpoolPosition

log = logging.getLogger(__name__)

CHECKED_ON_LOOP = 512 << 10  # bytes of a block, which take the event loop a millisecond; of text four
AHEAD = 60.0  # seconds by which a segment may be ahead of the clock; Unix times are ten years ahead
GROUP_BYTES = 4 << 20  # a larger group gains nothing more from sharing its syncs, and delays the next one
Commit = Callable[[Sequence[CommitRequest]], list[CommitResult]]


# Structs without garbage collection, because every segment has one of each, and tuples take four times as long.
class PendingSegment(msgspec.Struct, gc=False, frozen=True):
    """A checked segment, or block: its payload, and what `records.Record` says about it."""

    payload: bytes
    origin: Origin
    samples: int
    detector: str = ""
    channel: str = ""
    t0: float | None = None
    dt: float | None = None
    block: Block | None = None

    @property
    def begin(self) -> float:
        """GPS time of the first sample; of a block, of the channel that begins last."""
        return self.t0 or 0.0 if self.block is None else max(runs.t0 for runs in self.block.holds)


class _Waiting(msgspec.Struct, gc=False, frozen=True):
    segment: PendingSegment
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
        self._directory = SpoolDirectory(Layout(config))
        self._spool = SpoolWriter.from_config(config)
        self._queue: queue.SimpleQueue[_Waiting | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._starting = threading.Lock()
        metrics.QUEUE.set_function(self._queue.qsize)

    def submit(self, payload: bytes, origin: Origin = ANONYMOUS, format: str = "") -> Awaitable[CommitResult]:
        """Store one segment or block; when the returned future is done, the segment is durable, counted and visible.

        Not a coroutine, because that would keep the decoded samples, four times the payload, while it waits.

        Args:
            payload: the body as received; it becomes the file.
            origin: the principal, and the request's key; a repetition is answered like the first time.
            format: of the block, see `domain.block`; empty for a segment.

        Raises:
            BadSegment: the payload is not a segment, or not a block of that format.
            BufferFrozen, StorageFailed: it is not stored.
            Busy: the queue is full, or the writer is busy; it is not stored.
            OutcomeUnknown: the writer did not answer in time; it is stored once, or not.
            KeyReused: the key named another payload before; it is not stored.
            KeysFull, ClockWrong, Recovering, JournalDamaged: it is not stored.
        """
        if format and len(payload) > CHECKED_ON_LOOP:
            return self._submit_long(payload, origin, format)
        return self.enqueue(self.check_segment(payload, origin, format))

    async def _submit_long(self, payload: bytes, origin: Origin, format: str) -> CommitResult:
        return await self.enqueue(await asyncio.to_thread(self.check_segment, payload, origin, format))

    @property
    def slice_size(self) -> int:
        """Segments of one request that may wait at once: half of the queue, so that others find a place."""
        return max(self._config.queue_length // 2, 1)

    def check_segment(self, payload: bytes, origin: Origin = ANONYMOUS, format: str = "") -> PendingSegment:
        """Check a segment or block without storing it. Raises BadSegment; arguments as `submit`."""
        if format:
            block = blocks.parse(payload, format, self._config.max_channels, self._config.max_samples)
            return PendingSegment(payload, origin, block.samples, block=block)
        s = parse(payload, self._config.max_samples)
        return PendingSegment(payload, origin, len(s.h), s.detector, s.channel, s.t[0], s.dt)

    def enqueue(self, segment: PendingSegment) -> Awaitable[CommitResult]:
        """Store a segment that `check_segment` has checked; as `submit`."""
        if self._queue.qsize() >= self._config.queue_length:
            raise Busy(f"{self._config.queue_length} segments are waiting already; send it again.")
        if self._thread is None:
            self._start()
        loop = asyncio.get_running_loop()
        future: asyncio.Future[CommitResult] = loop.create_future()
        self._queue.put(_Waiting(segment, loop, future))
        return future

    def check(self) -> None:
        """Check that the spool's folder, which the writer creates on a new volume, takes files.

        Raises:
            Recovering: it is not there, or another user's.
            StorageFailed: its volume is full or read-only.
        """
        if not os.path.isdir(self._directory.path):
            raise Recovering(f"{self._directory.path} is not there.")
        require_space(self._directory.path)
        if not os.access(self._directory.path, os.W_OK):
            raise Recovering(f"{self._directory.path} is not writable.")

    def close(self) -> None:
        """Store what is queued, and release the spool file."""
        with self._starting:
            if self._thread is not None:
                self._queue.put(None)
                self._thread.join()
                self._thread = None
        self._spool.close()

    def _start(self) -> None:
        with self._starting:
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="group-commit", daemon=True)
                self._thread.start()

    def _run(self) -> None:
        while (first := self._queue.get()) is not None:
            group = [first]
            last = False
            size = len(first.segment.payload)
            while len(group) < self._config.group_size and size < GROUP_BYTES:
                try:
                    item = self._queue.get_nowait()
                except queue.Empty:
                    break
                if item is None:
                    last = True
                    break
                group.append(item)
                size += len(item.segment.payload)
            self._answer(group, self._store(group))
            if last:
                return

    def _store(self, group: Sequence[_Waiting]) -> list[CommitResult | Exception]:
        """Spool a group, have it decided, and return each member's outcome."""
        metrics.GROUP_SIZE.observe(len(group))
        too_late = gps_from_unix(time.time()) + AHEAD
        if ahead := sum(item.segment.begin > too_late for item in group):
            metrics.AHEAD.inc(ahead)
        try:
            with metrics.SPOOL_SECONDS.time():
                positions = self._spool.store([item.segment.payload for item in group])
            requests = [
                _commit_request(item.segment, position)
                for item, position in zip(group, positions, strict=True)
                if isinstance(position, SpoolPosition)
            ]
            results = iter(self._decide(requests))
        except DatastoreError as error:
            return [error] * len(group)
        except Exception as error:  # a bug must not stop the thread
            log.exception("storing a group of %d segments failed", len(group))
            return [error] * len(group)
        return [p if isinstance(p, Exception) else _outcome(next(results)) for p in positions]

    def _decide(self, requests: Sequence[CommitRequest]) -> list[CommitResult]:
        try:
            with metrics.COMMIT_SECONDS.time():
                results = self._commit(requests) if requests else []
        except OutcomeUnknown:
            # If committed, the writer needs the staged files. If still queued in a stalled writer, the group must never
            # commit after the keys have expired: closing the spool file makes the writer refuse it.
            self._spool.abandon()
            raise
        except DatastoreError:
            for r in requests:
                self._directory.discard(r.spool, r.offset)
            raise
        for r, result in zip(requests, results, strict=True):
            if not result.is_new:
                self._directory.discard(r.spool, r.offset)
        return results

    @staticmethod
    def _answer(group: Sequence[_Waiting], outcomes: Sequence[CommitResult | Exception]) -> None:
        segments = size = samples = runs = 0
        for item, outcome in zip(group, outcomes, strict=True):
            if isinstance(outcome, CommitResult):
                segment = item.segment
                segments += 1
                size += len(segment.payload)
                samples += segment.samples
                runs += 1 if segment.block is None else segment.block.runs
        metrics.SEGMENTS.inc(segments)
        metrics.BYTES.inc(size)
        metrics.SAMPLES.inc(samples)
        metrics.RUNS.inc(runs)
        try:
            group[0].loop.call_soon_threadsafe(_resolve, group, outcomes)
        except RuntimeError:  # the loop has been closed; nobody waits any more
            log.warning("%d segments were decided after the server had stopped", len(group))


def _resolve(group: Sequence[_Waiting], outcomes: Sequence[CommitResult | Exception]) -> None:
    for item, outcome in zip(group, outcomes, strict=True):
        if item.future.done():  # the client has gone
            continue
        if isinstance(outcome, Exception):
            item.future.set_exception(outcome)
        else:
            item.future.set_result(outcome)


def _commit_request(s: PendingSegment, p: SpoolPosition) -> CommitRequest:
    format, holds = s.block if s.block is not None else ("", ())
    return CommitRequest(
        p.spool, p.offset, p.size, p.crc32, s.origin.key, s.detector, s.channel, s.t0, s.dt, s.samples, s.origin.by,
        format, holds,
    )  # fmt: skip


def _outcome(result: CommitResult) -> CommitResult | Exception:
    if result.code == BufferFrozen.code:
        return BufferFrozen()
    if result.code == KeyReused.code:
        return KeyReused(f"the key named another payload before, {result.name} of {result.size} bytes; use a new key")
    if result.code == KeysFull.code:
        return KeysFull("The store holds as many keys as it may; freeze and clean the batch, or send without a key.")
    return OutcomeUnknown("The segment was given up; send it again with its key.") if result.code else result
