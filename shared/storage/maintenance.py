"""The writer's background work, on one thread: recovery at the start, then views, trims and further tasks."""

from __future__ import annotations

import atexit
import contextlib
import logging
import threading
import time
from collections.abc import Callable, Sequence

from shared import metrics
from shared.errors import DatastoreError
from shared.storage.writer import Writer

VIEWS_LAG = 0.5  # seconds by which the views may be behind the counts; publishing them takes the lock for a millisecond

log = logging.getLogger(__name__)


class Maintenance:
    """Opens a writer, retries where that fails, and runs its tasks every `housekeeping` seconds.

    Closed at the interpreter's exit at the latest.

    Args:
        writer: the writer.
        tasks: further tasks to run each time.
    """

    def __init__(self, writer: Writer, tasks: Sequence[Callable[[], object]] = ()) -> None:
        self._writer = writer
        self._tasks = (writer.trim, writer.checkpoint_if_due, *tasks)
        self._wake = threading.Event()
        self._opened = threading.Event()
        self._stopping = False
        self._unverified = False
        self._thread = threading.Thread(target=self._run, name="maintenance", daemon=True)

    def start(self, wait: float = 1.0) -> None:
        """Begin; wait a moment for recovery, which usually takes less. `Writer.check` raises what went wrong."""
        atexit.register(self.stop)
        self._writer.on_change = self.wake
        self._thread.start()
        self._opened.wait(wait)

    def wake(self) -> None:
        """Run the tasks soon: there may be something to trim or to deliver."""
        self._wake.set()

    def stop(self) -> None:
        """Finish the work under way, trim, and close the writer."""
        if not self._stopping:
            self._stopping = True
            self._wake.set()
            self._thread.join(timeout=30)
            self._writer.close()

    def _run(self) -> None:
        failures = 0
        while not self._stopping:
            try:
                self._open_if_needed()
                self._run_tasks()
                failures = 0
            except DatastoreError as error:
                log.log(logging.WARNING if failures else logging.ERROR, "%s: %s", type(error).__name__, error)
                failures += 1
            except Exception:
                log.exception("maintenance failed")
                failures += 1
            self._opened.set()
            pause = min(0.5 * 2**failures, self._writer.config.housekeeping) if failures else None
            self._wait_publishing_views(pause or self._writer.config.housekeeping)
            self._wake.clear()

    def _wait_publishing_views(self, seconds: float) -> None:
        """Wait until there is something to do; meanwhile the views follow the decisions."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0 and not self._wake.wait(min(left, VIEWS_LAG)):
            with contextlib.suppress(DatastoreError):  # the tasks will meet it again, and log it
                self._writer.publish_views()

    def _open_if_needed(self) -> None:
        try:
            self._writer.check()
        except DatastoreError:
            self._writer.open()
            self._unverified = True
            state = self._writer.state()
            log.info(
                "store open: batch %d, %s, %d segments, %d bytes",
                state.batch,
                state.status,
                state.segments,
                state.bytes,
            )

    def _run_tasks(self) -> None:
        self._opened.set()
        if self._unverified:  # after the store is ready: data that arrives now cannot be taken again
            self._writer.verify_files()
            self._unverified = False
        metrics.MISSING.set(self._writer.missing_segments)
        metrics.PENDING.set(self._writer.pending_segments)
        metrics.KEYS.set(self._writer.key_count)
        for task in self._tasks:
            task()
