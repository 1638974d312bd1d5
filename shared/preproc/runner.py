"""Running preproc: has the products of the frozen batch made, once, and announces them.

`shared.preproc.job` does the work in a process of its own.
"""

from __future__ import annotations

import contextlib
import contextvars
import importlib.util
import logging
import queue
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from typing import Any, NamedTuple

import msgspec

from shared import events
from shared.config import StoreConfig
from shared.decoding import json_decoder
from shared.domain.messages import PreprocState
from shared.domain.records import utc_now
from shared.errors import Busy, DatastoreError, NotFrozen, PreprocUnavailable, Recovering, retryable_error_from_code
from shared.job_process import JobProcess
from shared.preproc import products, progress
from shared.preproc.products import Manifest
from shared.storage import frozen_batch
from shared.storage.frozen_batch import BatchStatus
from shared.storage.history import freeze_trace
from shared.trace_context import within
from shared.volume.layout import Layout
from shared.volume.posix import storage_errors
from shared.volume.whole_files import atomic_replace

log = logging.getLogger(__name__)

_ATTEMPTS = 3  # at one batch without a request; a request is always another attempt
_MAX_WAITING = 16  # requests
_IDLE = 120.0  # seconds without a segment after which a process that is ready ends
_NOT_INSTALLED = "gwpy is not installed here: run `make .venv/.extras`, or use the image with preproc"

Publish = Callable[[str, str, Mapping[str, object]], object]


class _Announced(msgspec.Struct):
    batch: int
    n_itm: int


class _Attempts(NamedTuple):
    """The attempts at one batch: their number, and how the last one failed."""

    batch: BatchStatus
    number: int = 0
    failed: str = ""
    time: str = ""


class PreprocRunner:
    """Makes the products of the frozen batch, one process at a time. Safe to use from several threads.

    Args:
        config: the configuration.
        publish: sends an event to K_SINK: type, id and data.
        in_sight: whether the open batch will freeze soon, so that a process had better be ready.
    """

    def __init__(self, config: StoreConfig, publish: Publish, in_sight: Callable[[], bool] = lambda: False) -> None:
        self.config = config
        self.layout = Layout(config)
        self._publish = publish
        self._in_sight = in_sight
        self._grown = (BatchStatus(-1, -1, frozen=False), 0.0)  # as it was last seen to grow, and when
        self._queue: queue.SimpleQueue[tuple[Future[Any], Callable[[], object]]] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._starting = threading.Lock()
        self._slots = threading.BoundedSemaphore(_MAX_WAITING)
        self._job = JobProcess("shared.preproc.job", config.preproc_timeout)
        self._polling: Future[Any] | None = None
        self._attempts = _Attempts(BatchStatus(-1, -1, frozen=False))

    @staticmethod
    def present() -> bool:
        """Whether gwpy, which makes the products, is installed."""
        return importlib.util.find_spec("gwpy") is not None

    def request(self, batch: int | None = None) -> Future[Manifest | None]:
        """Have the products of the frozen batch made; nothing is done where they are in place already.

        Args:
            batch: its number, where a `frozen` event named it.

        Returns:
            A future of the manifest, or of None where the named batch is not open any more.
            It may raise NotFrozen, NoPreproc, Recovering, Busy, JournalDamaged or StorageFailed.

        Raises:
            Busy: too many requests are waiting already.
        """
        return self._enqueue(lambda: self._answer(batch))

    def request_archived(self, archive: str) -> Future[Manifest]:
        """Have the products of an archive made; errors as `request`, and NoSuchRoute if there is no such archive."""
        return self._enqueue(lambda: self._make_archived(archive))

    def _enqueue(self, work: Callable[[], object]) -> Future[Any]:
        if not self._slots.acquire(blocking=False):
            raise Busy(f"{_MAX_WAITING} requests are waiting for preproc already.")
        future = self._submit(work)
        future.add_done_callback(lambda _: self._slots.release())
        return future

    def status(self) -> PreprocState:
        """How far the products of the open batch have come."""
        try:
            now = frozen_batch.status(self.layout)
        except DatastoreError as error:
            return PreprocState("waiting", reason=str(error))
        if (at := progress.read(self.layout)) is not None and at.batch == now.batch:  # else it is an archive's
            return PreprocState("running", at.since, at.done, at.of)
        made = products.manifest(self.layout.products)
        if made is not None and (made.batch, made.n_itm) == (now.batch, now.n_itm):
            return PreprocState(made.verdict, made.time, made.pictures, made.pictures, made.description)
        if not self.present():
            return PreprocState("not installed", reason=_NOT_INSTALLED)
        tries = self._attempts
        if tries.batch == now and tries.failed:
            left = f"attempt {tries.number} of {_ATTEMPTS} failed: " if tries.number < _ATTEMPTS else ""
            return PreprocState("waiting" if left else "failed", tries.time, reason=left + tries.failed)
        if not self.config.preproc_auto:
            return PreprocState("off", reason="PREPROC is off: POST /preproc makes the products")
        return PreprocState("waiting", reason="" if now.frozen else "the batch is not frozen")

    def poll(self) -> None:
        """Start whatever is due: products to make or to announce. Does not block; a task of `Maintenance`."""
        if self._polling is None or self._polling.done():
            self._polling = self._submit(self._poll_once)

    def event(self, made: Manifest) -> tuple[str, dict[str, object]]:
        """Id and data of the event `spectrogram`; the id is the same however often it is sent."""
        data: dict[str, object] = {
            "batch": made.batch,
            "n_itm": made.n_itm,
            "verdict": made.verdict,
            "products": [file.name for file in made.files],
            "data": self.layout.products,
            "time": made.time,
        }
        return f"spectrogram-{made.batch}-{made.n_itm}", data

    def stop(self) -> None:
        """End the work under way; products not yet in place are made anew later."""
        self._job.stop()

    # -- on the thread that does one thing after another ----------------------------------------------------------

    def _submit(self, work: Callable[[], object]) -> Future[Any]:
        # An executor of the standard library would wait for the work at the interpreter's exit, before `stop`.
        future: Future[Any] = Future()
        context = contextvars.copy_context()  # with the trace of the request
        self._queue.put((future, lambda: context.run(work)))
        with self._starting:
            if self._thread is None:
                self._thread = threading.Thread(target=self._serve, name="preproc", daemon=True)
                self._thread.start()
        return future

    def _serve(self) -> None:
        while True:
            future, work = self._queue.get()
            if future.set_running_or_notify_cancel():
                try:
                    future.set_result(work())
                except Exception as error:
                    future.set_exception(error)

    def _answer(self, batch: int | None) -> Manifest | None:
        now = frozen_batch.status(self.layout)
        if batch is not None and now.batch < batch:
            raise Recovering("The batch is not visible here yet.")
        if batch is not None and (now.batch > batch or not now.frozen):
            return None
        try:
            return self._make(now)
        except NotFrozen:
            if batch is None:
                raise
            return None

    def _make(self, now: BatchStatus) -> Manifest:
        if not now.frozen:
            raise NotFrozen("The batch is not frozen.")
        if (made := products.final_manifest(self.layout.products, now.batch, now.n_itm)) is not None:
            return made
        self._require_present()
        number = self._attempts.number + 1 if self._attempts.batch == now else 1
        try:
            self._run()
        except NotFrozen:
            raise
        except DatastoreError as error:
            if self._job.stopping or progress.running(self.layout):  # of another process: nothing has failed
                raise
            log.error("preproc of batch %d, attempt %d: %s", now.batch, number, error)
            self._attempts = _Attempts(now, number, str(error), utc_now())
            if (made := products.final_manifest(self.layout.products, now.batch, now.n_itm)) is not None:
                return made
            if number < _ATTEMPTS:
                raise
            return products.publish_failure(self.layout, now, str(error))
        if (made := products.manifest(self.layout.products)) is None:
            raise NotFrozen("The batch was archived just after its products were made.")
        log.info("products of batch %d: %s", now.batch, made.verdict)
        return made

    def _make_archived(self, archive: str) -> Manifest:
        folder = products.archived(self.layout, archive)
        made = products.manifest(folder)
        if made is None or made.reason:
            self._require_present()
            self._run(archive)
            made = products.manifest(folder)
        if made is None:
            raise Busy(f"{archive!r} was taken away meanwhile.")
        return made

    def _require_present(self) -> None:
        if not self.present():
            raise PreprocUnavailable(_NOT_INSTALLED)

    def _run(self, *arguments: str) -> None:
        if (refusal := self._job.run(*arguments)) is not None:
            raise retryable_error_from_code(refusal.code, refusal.body)

    def _poll_once(self) -> None:
        with contextlib.suppress(NotFrozen, Recovering):
            now = frozen_batch.status(self.layout)
            self._prepare(now)
            if not now.frozen:
                return
            made = products.final_manifest(self.layout.products, now.batch, now.n_itm)
            if made is None and self._attempts.batch == now and self._attempts.number >= _ATTEMPTS:
                return
            try:
                with within(freeze_trace(self.layout)):
                    self._announce(made or self._make(now))
            except NotFrozen:
                raise
            except DatastoreError as error:
                if not self._job.stopping:
                    log.warning("preproc of batch %d is tried again: %s", now.batch, type(error).__name__)
            except Exception:
                log.exception("preproc of batch %d failed", now.batch)

    def _prepare(self, now: BatchStatus) -> None:
        """Have a process ready while segments arrive and a freeze is in sight; end one that waits in vain."""
        if now != self._grown[0]:
            self._grown = now, time.monotonic()
        if not self.config.preproc_warm or now.frozen:  # the work that is due takes the process
            return
        if self._in_sight() and time.monotonic() - self._grown[1] < _IDLE:
            self._job.prepare()
        else:
            self._job.dismiss()

    def _announce(self, made: Manifest) -> None:
        """Send the event to K_SINK, at least once; where it does not arrive, `poll` tries again."""
        if not self.config.sink or made.verdict != "done":
            return
        path = self.layout.announced
        this = _Announced(made.batch, made.n_itm)
        with contextlib.suppress(OSError, msgspec.DecodeError), open(path, "rb") as file:
            if json_decoder(_Announced).decode(file.read()) == this:
                return
        self._publish(events.SPECTROGRAM, *self.event(made))
        with storage_errors("recording the announced batch"):
            atomic_replace(path, msgspec.json.encode(this))
