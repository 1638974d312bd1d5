"""Preproc as the functions use it: has the frozen batch's products made, once, and tells the world about them.

The work is done by `shared.preproc.job` in a process of its own: ingest does not stall, a crash or a runaway
allocation of the science libraries takes nothing with it, and their licence (GPL-3) ends at the process boundary.
"""

from __future__ import annotations

import atexit
import contextlib
import importlib.util
import logging
import os
import queue
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import msgspec

from shared import events
from shared.clients import http
from shared.config import StoreConfig, child_environment
from shared.errors import Busy, DatastoreError, NotFrozen, PreprocUnavailable, Recovering, retryable_error_from_code
from shared.preproc import products
from shared.preproc.products import Manifest
from shared.volume.layout import Layout
from shared.volume.posix import atomic_replace, storage_errors

log = logging.getLogger(__name__)

_ATTEMPTS = 3  # at one batch on our own account; a request is always another attempt
_WAITING = 16  # requests


class _Refusal(msgspec.Struct):
    code: str
    body: str


class _Announced(msgspec.Struct):
    batch: int
    n_itm: int


class PreprocRunner:
    """Makes the products of the frozen batch, one process at a time. Safe to use from several threads."""

    def __init__(self, config: StoreConfig) -> None:
        self.config = config
        self._queue: queue.SimpleQueue[tuple[Future[Any], Callable[[], object]]] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._starting = threading.Lock()
        self._slots = threading.BoundedSemaphore(_WAITING)
        self._process: subprocess.Popen[bytes] | None = None
        self._stopping = False
        self._polling: Future[Any] | None = None
        self._tried: dict[tuple[int, int], int] = {}
        atexit.register(self.stop)

    @staticmethod
    def present() -> bool:
        """Whether products can be made here."""
        return importlib.util.find_spec("gwpy") is not None

    def request(self, batch: int | None = None) -> Future[Manifest | None]:
        """Have the products of the frozen batch made; where they are made already nothing is done.

        Args:
            batch: its number, where a `frozen` fact named it.

        Returns:
            A future: the manifest, or None where the named batch is not there any more.
            It may raise NotFrozen, NoPreproc, Recovering, Busy, JournalDamaged or StorageFailed.

        Raises:
            Busy: too many requests are waiting already.
        """
        if not self._slots.acquire(blocking=False):
            raise Busy(f"{_WAITING} requests are waiting for preproc already.")
        future = self._submit(lambda: self._answer(batch))
        future.add_done_callback(lambda _: self._slots.release())
        return future

    def poll(self) -> None:
        """See on our own account whether there is something to make or to announce; a chore that does not block."""
        if self._polling is None or self._polling.done():
            self._polling = self._submit(self._poll_once)

    def event(self, made: Manifest) -> tuple[dict[str, str], bytes]:
        """Headers and body of the fact `spectrogram`; its id is the same however often it is sent."""
        data: dict[str, object] = {
            "batch": made.batch,
            "n_itm": made.n_itm,
            "verdict": made.verdict,
            "products": [file.name for file in made.files],
            "data": Layout(self.config).products,
            "time": made.time,
        }
        return events.encode(events.SPECTROGRAM, self.config.source, f"spectrogram-{made.batch}-{made.n_itm}", data)

    def stop(self) -> None:
        """End the work under way; what it had not put in place is made anew later."""
        self._stopping = True
        process = self._process
        if process is not None:
            process.kill()

    # -- on the thread that does one thing after another ----------------------------------------------------------

    def _submit(self, work: Callable[[], object]) -> Future[Any]:
        # An executor of the standard library would wait for the work at the interpreter's exit, before `stop`.
        future: Future[Any] = Future()
        self._queue.put((future, work))
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
        now = products.batch_status(self.config)
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

    def _make(self, now: products.BatchStatus) -> Manifest:
        if not now.frozen:
            raise NotFrozen("The batch is not frozen.")
        if (made := products.manifest_for(self.config, now.batch, now.n_itm)) is None:
            self._run()
            if (made := products.manifest(self.config)) is None:
                raise NotFrozen("The batch was filed away just after its products were made.")
        return made

    def _run(self) -> None:
        if not self.present():
            raise PreprocUnavailable("gwpy is not installed here: pip install 'dt-datastore[preproc]'")
        root = Path(__file__).resolve().parents[2]
        # One thread: ingest and the writer share these cores.
        env = child_environment(str(root), OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1")
        command = [sys.executable, "-m", "shared.preproc.job"]
        # A session of its own: an operator's Ctrl-C is for us, and we end it.
        with subprocess.Popen(  # noqa: S603
            command, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, start_new_session=True
        ) as process:
            self._process = process
            if self._stopping:
                process.kill()
            try:
                output, _ = process.communicate(timeout=self.config.preproc_timeout)
            except subprocess.TimeoutExpired:
                process.kill()
                raise Busy(f"preproc took more than {self.config.preproc_timeout:g} s") from None
            finally:
                self._process = None
        if process.returncode == 0:
            return
        try:
            refusal = msgspec.json.decode(output, type=_Refusal)
        except msgspec.DecodeError:
            raise Busy(f"preproc ended with {process.returncode}; its log says why") from None
        raise retryable_error_from_code(refusal.code, refusal.body)

    def _poll_once(self) -> None:
        with contextlib.suppress(NotFrozen, Recovering):
            now = products.batch_status(self.config)
            if not now.frozen:
                return
            key = now.batch, now.n_itm
            try:
                if (made := products.manifest_for(self.config, *key)) is None:
                    attempts = self._tried.get(key, 0)
                    if attempts >= _ATTEMPTS:
                        return
                    self._tried = {key: attempts + 1}
                    made = self._make(now)
                self._announce(made)
            except NotFrozen:
                raise
            except DatastoreError as error:
                if not self._stopping:
                    log.error("preproc of batch %d: %s", now.batch, error)
            except Exception:
                log.exception("preproc of batch %d failed", now.batch)

    def _announce(self, made: Manifest) -> None:
        """Send the fact to K_SINK, at least once; where it does not arrive, `look` tries again."""
        if not self.config.sink or made.verdict != "done":
            return
        path = os.path.join(self.config.adm_root, "announced.json")
        this = _Announced(made.batch, made.n_itm)
        with contextlib.suppress(OSError, msgspec.DecodeError), open(path, "rb") as file:
            if msgspec.json.decode(file.read(), type=_Announced) == this:
                return
        status, _ = http.post(self.config.sink, *self.event(made), timeout=10)
        if not 200 <= status < 300:
            raise Busy(f"{self.config.sink} answers {status}")
        with storage_errors("noting what was announced"):
            atomic_replace(path, msgspec.json.encode(this))
