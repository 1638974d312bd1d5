"""The writer's background work, on one thread: recovery at the start, then views, trims and the delivery of facts."""

from __future__ import annotations

import atexit
import contextlib
import logging
import threading
import time
from collections.abc import Callable, Sequence

from shared import metrics
from shared.errors import DatastoreError
from shared.storage.outbox import Outbox
from shared.storage.writer import Writer

VIEWS_LAG = 0.5  # seconds by which the views may be behind the counts; to show them takes the lock for a millisecond

log = logging.getLogger(__name__)


class Maintenance:
    """Opens a writer, keeps trying where that fails, and does its chores every `housekeeping` seconds.

    Closed at the interpreter's exit at the latest.

    Args:
        writer: the writer.
        chores: further work to look after each time; it must not block.
    """

    def __init__(self, writer: Writer, tasks: Sequence[Callable[[], object]] = ()) -> None:
        self._writer = writer
        self._tasks = tasks
        self._outbox = Outbox(writer.config, writer.state, lambda: writer.durable_end)
        self._wake = threading.Event()
        self._opened = threading.Event()
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="keeper", daemon=True)

    def start(self, wait: float = 1.0) -> None:
        """Begin; wait a moment for recovery, which is usually done at once. `Writer.check` tells how it went."""
        atexit.register(self.stop)
        self._writer.notify = self.wake
        self._thread.start()
        self._opened.wait(wait)

    def wake(self) -> None:
        """Do the chores soon: there may be something to trim or to deliver."""
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
                log.exception("housekeeping failed")
                failures += 1
            self._opened.set()
            pause = min(0.5 * 2**failures, self._writer.config.housekeeping) if failures else None
            self._wait_publishing_views(pause or self._writer.config.housekeeping)
            self._wake.clear()

    def _wait_publishing_views(self, seconds: float) -> None:
        """Until there is something to do; meanwhile the views follow what is decided."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0 and not self._wake.wait(min(left, VIEWS_LAG)):
            with contextlib.suppress(DatastoreError):  # the chores will meet it again, and report it
                self._writer.publish_views()

    def _open_if_needed(self) -> None:
        try:
            self._writer.check()
        except DatastoreError:
            self._writer.open()
            metrics.MISSING.set(self._writer.publisher.missing_segments)
            log.info("store open: %s", self._writer.state())

    def _run_tasks(self) -> None:
        self._opened.set()
        self._writer.trim()
        self._writer.checkpoint_if_due()
        for chore in self._tasks:
            chore()
        self._outbox.deliver()
