"""Running the job for training sets: takes requests, has the sets made one after another, and announces them."""

from __future__ import annotations

import contextlib
import importlib.util
import logging
import os
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from typing import NamedTuple

import msgspec

from shared import events
from shared.catalog.catalog import Catalog
from shared.config import ConfigError, StoreConfig
from shared.datasets import selection
from shared.datasets.orders import Order, Orders
from shared.datasets.request import Request, check
from shared.datasets.sets import DatasetStore, Located, Manifest
from shared.decoding import json_decoder
from shared.domain.messages import ErrorBody
from shared.errors import (
    Ambiguous,
    BadRequest,
    DatastoreError,
    NameTaken,
    NotFrozen,
    PreprocUnavailable,
    Recovering,
    Rejected,
    error_from_code,
)
from shared.job_process import JobProcess
from shared.storage import frozen_batch
from shared.storage.batches import OPEN_BATCH
from shared.storage.history import freeze_trace
from shared.storage.reader import BatchReader
from shared.trace_context import within
from shared.volume.layout import Layout
from shared.volume.views import read_view

log = logging.getLogger(__name__)

_ATTEMPTS = 3  # at one order, after failures that may pass
_PAUSE = 5.0  # seconds between two attempts
_NAME_LENGTH = 44  # of the configured set, behind which the batch's number comes

Publish = Callable[[str, str, Mapping[str, object]], object]


class Batch(NamedTuple):
    """The batch that a request names: how the catalog calls it, its number, its journal's identity, its segments."""

    name: str
    number: int
    opened: int
    n_itm: int


class DatasetRunner:
    """Takes requests for training sets and has them made, one process at a time. Safe to use from several threads.

    Args:
        reader: of the store.
        publish: sends an event to K_SINK: type, id and data.
        max_samples: of one channel in a window.

    Attributes:
        reader: of the store.
        sets: those that are done.
        wanted: the set that DATASET asks for of every frozen batch.

    Raises, when made:
        ConfigError: DATASET names a file that holds no request.
    """

    def __init__(self, reader: BatchReader, publish: Publish, max_samples: int) -> None:
        self.config = reader.config
        self.layout = Layout(reader.config)
        self.sets = DatasetStore(self.layout, reader.batches)
        self.orders = Orders(self.layout)
        self.wanted = _configured(reader.config)
        self.reader = reader
        self._publish = publish
        self._max_samples = max_samples
        self._job = JobProcess("shared.datasets.job", reader.config.dataset_timeout)
        self._deciding = threading.Lock()
        self._starting = threading.Lock()
        self._wake = threading.Event()
        self._thread: threading.Thread | None = None
        self._working = ""
        self._attempts: dict[tuple[str, int], int] = {}
        self._waiters: dict[str, list[Future[None]]] = {}
        self._seen: tuple[int, int] | None = None

    # -- requests -------------------------------------------------------------------------------------------------

    def submit(self, request: Request) -> Located | None:
        """Accept a request, durably; return the set if it is there already, None if it is to be made.

        Raises:
            BadRequest, SpanTooLong: a field cannot be used; the text names it.
            NoData: no channel matches. NoSuchFile: there is no such batch.
            NotFrozen: the batch is not frozen.
            NameTaken: another request has the name.
            Ambiguous: several batches or streams match.
            Unavailable: it cannot be taken now.
        """
        if not all(map(importlib.util.find_spec, ("h5py", "numpy", "gwpy"))):
            raise PreprocUnavailable(
                "h5py, numpy or gwpy is not installed here: run `make .venv/.extras`, or use the image with preproc"
            )
        request = check(request)
        with self._deciding:
            batch = self._resolve(request)
            order = self.orders.get(request.name)
            if order is not None and order.error is None:
                if (order.request, order.opened) != (request, batch.opened):
                    raise NameTaken(f"another request makes a set {request.name!r}: choose another `name`")
                return None
            done = self.sets.find(request.name)
            if done is not None:
                manifest = done.manifest
                if (manifest.request, manifest.opened) != (request, batch.opened):
                    raise NameTaken(
                        f"there is a set {request.name!r} of batch {manifest.batch} by another request: "
                        "choose another `name`, or delete it"
                    )
                if manifest.n_itm == batch.n_itm:
                    return done
            self._check_channels(request, batch)
            self.orders.add(request, batch.number, batch.opened)
        log.info("training set %r of batch %d is to be made", request.name, batch.number)
        self.wake()
        return None

    def _resolve(self, request: Request) -> Batch:
        chosen = self.reader.batches.select(request.batch)
        if len(chosen.archived) > 1:
            names = ", ".join(repr(archived.name) for archived in chosen.archived)
            raise Ambiguous(f"`batch` {request.batch} means several archives: name one of {names}")
        if chosen.archived:
            (archived,) = chosen.archived
            counts = read_view(os.path.join(self.layout.archive(archived.name), self.layout.stat_name))
            return Batch(archived.name, archived.batch, archived.opened, int(str(counts["n_itm"])))
        number, opened = self.reader.batches.current()
        now = frozen_batch.status(self.layout)
        if now.batch != number:
            raise Recovering("The batch is being archived; send the request again.")
        if not now.frozen:
            raise NotFrozen("The batch is not frozen: training sets are made of a frozen batch, or of archives.")
        return Batch(OPEN_BATCH, number, opened, now.n_itm)

    def _check_channels(self, request: Request, batch: Batch) -> None:
        # A catalog for this request only: most stores get few, and an index takes memory.
        with selection.one_batch(Catalog(self.reader, self.layout), batch.name) as indexed:
            selection.select(indexed, request, self._max_samples)
            selection.peaks_track(indexed, request)

    def document(self, name: str) -> dict[str, object] | None:
        """The state of a set that is not done: waiting, working or failed; None if there is no order of that name."""
        order = self.orders.get(name)
        if order is None:
            return None
        about: dict[str, object] = {"name": name, "batch": order.batch, "url": f"/datasets/{name}"}
        if order.error is not None:
            return {**about, "state": "failed", "error": order.error}
        progress = self.orders.progress(name)
        if progress is None:
            return {**about, "state": "waiting"}
        return {**about, "state": "working", "step": progress.step, "done": progress.done, "total": progress.total}

    def remove(self, name: str) -> None:
        """Remove a set, or take back the request for it.

        Raises:
            NoSuchRoute: there is neither.
            StorageFailed: it cannot be removed.
        """
        with self._deciding:
            withdrawn = self.orders.forget(name)
            if withdrawn and self._working == name:
                self._job.kill()
            if not withdrawn or self.sets.find(name) is not None:
                self.sets.remove(name)
        self._answer_waiters(name)

    def finished(self, name: str) -> Future[None]:
        """A future that is done when no order of this name waits any more."""
        future: Future[None] = Future()
        with self._starting:
            order = self.orders.get(name)
            if order is not None and order.error is None:
                self._waiters.setdefault(name, []).append(future)
                return future
        future.set_result(None)
        return future

    def frozen(self, batch: int) -> str | None:
        """Ask for the set that DATASET wants of a batch that has been frozen; return its name, None if there is none.

        Raises:
            Recovering: the batch is not visible here yet.
            DatastoreError: as `submit`.
        """
        if self.wanted is None:
            return None
        now = frozen_batch.status(self.layout)
        if now.batch < batch:
            raise Recovering("The batch is not visible here yet.")
        if now.batch > batch or not now.frozen:
            return None
        request = self._wanted_of(batch)
        self.submit(request)
        return request.name

    def _wanted_of(self, batch: int) -> Request:
        assert self.wanted is not None
        return msgspec.structs.replace(self.wanted, name=f"{self.wanted.name}-{batch}")

    def wake(self) -> None:
        """Begin with what is to be done. Does not block; a task of `Maintenance`."""
        with self._starting:
            if self._thread is None:
                self._thread = threading.Thread(target=self._serve, name="datasets", daemon=True)
                self._thread.start()
        self._wake.set()

    def event(self, manifest: Manifest) -> tuple[str, dict[str, object]]:
        """Id and data of the event `dataset`; the id is the same however often it is sent."""
        data: dict[str, object] = {
            "name": manifest.name,
            "batch": manifest.batch,
            "n_itm": manifest.n_itm,
            "layout": manifest.request.layout,
            "events": len(manifest.events),
            "left_out": len(manifest.left_out),
            "url": f"/datasets/{manifest.name}",
        }
        return f"dataset-{manifest.name}-{manifest.batch}-{manifest.n_itm}", data

    def stop(self) -> None:
        """End the work under way; it is begun anew when the store has started again."""
        self._job.stop()

    # -- on the thread that makes one set after another -----------------------------------------------------------

    def _serve(self) -> None:
        while not self._job.stopping:
            pause = None
            try:
                self._ask_for_wanted()
                for order in self.orders.waiting():
                    with within(order.trace):
                        if not self._do(order):
                            pause = _PAUSE
            except DatastoreError as error:
                log.error("training sets: %s", error)
            except Exception:
                log.exception("training sets failed")
            self._wake.wait(pause)
            self._wake.clear()

    def _ask_for_wanted(self) -> None:
        if self.wanted is None:
            return
        with contextlib.suppress(NotFrozen, Recovering):
            now = frozen_batch.status(self.layout)
            if not now.frozen or (now.batch, now.n_itm) == self._seen:
                return
            try:
                with within(freeze_trace(self.layout)):
                    self.submit(self._wanted_of(now.batch))
            except (NotFrozen, Recovering):
                raise
            except DatastoreError as error:
                log.error("DATASET of batch %d: %s", now.batch, error)
            self._seen = now.batch, now.n_itm

    def _do(self, order: Order) -> bool:
        """Make a set; False if it is to be tried again."""
        name, key = order.request.name, (order.request.name, order.accepted)
        failure: ErrorBody | None = None
        attempts = self._attempts[key] = self._attempts.get(key, 0) + 1
        self._working = name
        try:
            failure = self._job.run(name)
            if failure is None and self.orders.is_current(order):
                self._announce(name)
        except DatastoreError as error:
            failure = ErrorBody(error.code, str(error))
        finally:
            self._working = ""
        if self._job.stopping:
            return True
        if failure is not None and self.orders.is_current(order):
            kind = error_from_code(failure.code, failure.body)
            final = isinstance(kind, Rejected) or (isinstance(kind, NotFrozen) and self._is_open(order))
            log.error("training set %s: %s", name, failure.body)
            if not final and attempts < _ATTEMPTS:
                return False
            self.orders.fail(order, failure)
        elif failure is None:
            self.orders.done(order)
        del self._attempts[key]
        self._answer_waiters(name)
        return True

    def _answer_waiters(self, name: str) -> None:
        with self._starting:
            waiters = self._waiters.pop(name, [])
        for waiter in waiters:
            if waiter.set_running_or_notify_cancel():  # else the client has gone
                waiter.set_result(None)

    def _is_open(self, order: Order) -> bool:
        """True if the batch was opened again, False if it is being archived, where the set will be made."""
        try:
            now = frozen_batch.status(self.layout)
        except DatastoreError:
            return False
        return now.batch == order.batch and not now.frozen

    def _announce(self, name: str) -> None:
        if self.config.sink and (done := self.sets.find(name)) is not None:
            self._publish(events.DATASET, *self.event(done.manifest))


def _configured(config: StoreConfig) -> Request | None:
    if not config.dataset:
        return None
    try:
        with open(config.dataset, "rb") as file:
            request = check(json_decoder(Request).decode(file.read()))
    except OSError as error:
        raise ConfigError(f"DATASET={config.dataset!r}: must be a file with a request: {error.strerror}") from None
    except (msgspec.DecodeError, BadRequest) as error:
        raise ConfigError(f"DATASET={config.dataset!r}: must be a file with a request: {error}") from None
    if request.batch != OPEN_BATCH or len(request.name) > _NAME_LENGTH:
        raise ConfigError(
            f"DATASET={config.dataset!r}: `batch` must be {OPEN_BATCH}, and `name` have at most {_NAME_LENGTH} "
            "characters, because the batch's number is appended"
        )
    return request
