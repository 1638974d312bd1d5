"""Orders: requests for training sets that have been accepted and are not done, a file each, so that they outlive us."""

from __future__ import annotations

import contextlib
import os
import time

import msgspec

from shared.datasets.request import Request, is_name
from shared.decoding import json_decoder
from shared.domain.messages import ErrorBody
from shared.errors import Busy
from shared.trace_context import TraceContext, outgoing, parse
from shared.volume.layout import Layout
from shared.volume.posix import PosixFileSystem
from shared.volume.whole_files import atomic_replace, changing

MAX_WAITING = 16
_PROGRESS_INTERVAL = 0.2  # seconds


class Order(msgspec.Struct):
    """An accepted request.

    Attributes:
        batch, opened: number of the batch, and identity of its journal, by which it is found in its archive too.
        accepted: when, nanoseconds since 1970: orders are done in this order.
        error: why it cannot be done; it is kept until it is deleted or its name is used anew.
        traceparent, tracestate: the trace of the request, see `trace_context`.
    """

    request: Request
    batch: int
    opened: int
    accepted: int
    error: ErrorBody | None = None
    traceparent: str = ""
    tracestate: str = ""

    @property
    def trace(self) -> TraceContext | None:
        """The trace of the request, if it has one."""
        return parse(self.traceparent, self.tracestate)


class Progress(msgspec.Struct):
    """The progress of the set under way: of `total` parts of a step `done` are done."""

    name: str
    step: str
    done: int
    total: int


class Orders:
    """The orders on a volume. Safe to use from several threads, because each order is a file."""

    def __init__(self, layout: Layout) -> None:
        self._folder = os.path.join(layout.dataset_work, "orders")
        self._progress = os.path.join(layout.dataset_work, "progress.json")
        self._last = 0.0

    def get(self, name: str) -> Order | None:
        """The order of this name, if there is one."""
        if not is_name(name):
            return None
        try:
            return json_decoder(Order).decode(PosixFileSystem().cat_file(self._path(name)))
        except (OSError, msgspec.DecodeError):
            return None

    def all(self) -> list[Order]:
        """All orders, the oldest first."""
        try:
            names = os.listdir(self._folder)
        except FileNotFoundError:
            return []
        found = [self.get(name.removesuffix(".json")) for name in names if name.endswith(".json")]
        return sorted(filter(None, found), key=lambda order: order.accepted)

    def waiting(self) -> list[Order]:
        """The orders to be done, the oldest first."""
        return [order for order in self.all() if order.error is None]

    def add(self, request: Request, batch: int, opened: int) -> None:
        """Accept a request, durably.

        Raises:
            Busy: MAX_WAITING orders wait already.
            StorageFailed: it cannot be written.
        """
        if len(self.waiting()) >= MAX_WAITING:
            raise Busy(f"{MAX_WAITING} training sets are waiting already; send the request again later.")
        with changing(self._folder, "keeping the request for a training set"):
            self._save(Order(request, batch, opened, time.time_ns(), None, **outgoing()))

    def is_current(self, order: Order) -> bool:
        """False if the order was taken back meanwhile, or its name was used anew."""
        now = self.get(order.request.name)
        return now is not None and now.accepted == order.accepted

    def done(self, order: Order) -> None:
        """Forget an order that is done, unless it is not current any more.

        Raises:
            Busy, StorageFailed: it stays.
        """
        with changing(self._folder, "keeping the request for a training set"):
            if self.is_current(order):
                os.unlink(self._path(order.request.name))

    def fail(self, order: Order, error: ErrorBody) -> None:
        """Keep an order that cannot be done, with the reason, unless it is not current any more.

        Raises:
            Busy, StorageFailed: it stays as it was.
        """
        with changing(self._folder, "keeping the request for a training set"):
            if self.is_current(order):
                self._save(msgspec.structs.replace(order, error=error))

    def forget(self, name: str) -> bool:
        """Remove an order; False if there is none.

        Raises:
            Busy, StorageFailed: it stays.
        """
        if not is_name(name) or not os.path.exists(self._path(name)):
            return False
        with changing(self._folder, "keeping the request for a training set"), contextlib.suppress(FileNotFoundError):
            os.unlink(self._path(name))
            return True
        return False

    def progress(self, name: str) -> Progress | None:
        """The progress of a set, if it is the one under way."""
        try:
            found = json_decoder(Progress).decode(PosixFileSystem().cat_file(self._progress))
        except (OSError, msgspec.DecodeError):
            return None
        return found if found.name == name else None

    def report(self, progress: Progress) -> None:
        """Publish the progress, now and then; it need not survive anything."""
        if (now := time.monotonic()) - self._last < _PROGRESS_INTERVAL and progress.done:
            return
        self._last = now
        with contextlib.suppress(OSError):
            temp = f"{self._progress}.next"
            PosixFileSystem().pipe_file(temp, msgspec.json.encode(progress))
            os.replace(temp, self._progress)

    def _path(self, name: str) -> str:
        return os.path.join(self._folder, f"{name}.json")

    def _save(self, order: Order) -> None:
        atomic_replace(self._path(order.request.name), msgspec.json.encode(order))
