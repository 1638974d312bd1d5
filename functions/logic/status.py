"""What the status page shows: the store at a glance, as one JSON document that never holds the operator's token."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence

import msgspec

from shared.config import AuthMode
from shared.domain import segment
from shared.errors import DatastoreError, UpstreamFailed
from shared.logic.log_follower import LoggedSegment
from shared.logic.service import DatastoreLogic

_FRESH = 0.5  # seconds for which a document is good, however many look at it
_SHOWN = 12  # lines of the log
_STRETCH = 16  # segments in the plot, if they follow one another
_POINTS = 1200  # more than a plot has pixels


class Strain(msgspec.Struct):
    """The newest stretch of strain: `h[i]` at GPS time `t0 + x[i]`, thinned out to what a plot can show."""

    detector: str
    channel: str
    t0: float
    seconds: float
    x: list[float]
    h: list[float]


class Product(msgspec.Struct):
    """Something preprocessing has made."""

    name: str
    url: str


class _Listing(msgspec.Struct):
    products: list[Product]


Products = Callable[[], Sequence[Product]]


class StatusDocument:
    """The document behind the page, made anew at most twice a second. Safe to use from several threads.

    Args:
        logic: what it is about.
        products: what preprocessing has made.
        standing: how authentication stands, for the page to warn or to ask for a token.
    """

    def __init__(self, logic: DatastoreLogic, products: Products = tuple, standing: AuthMode = "off") -> None:
        self._logic = logic
        self._products = products
        self._standing = standing
        self._lock = threading.Lock()
        self._shown: dict[str, object] = {}
        self._until = 0.0
        self._segments: dict[str, segment.Segment] = {}  # in the plot last time

    def show(self) -> dict[str, object]:
        """The document.

        Raises:
            DatastoreError: the store cannot be asked, or not now.
        """
        with self._lock:
            if time.monotonic() >= self._until:
                self._shown = self._make()
                self._until = time.monotonic() + _FRESH
            return self._shown

    def _make(self) -> dict[str, object]:
        policy, buffer = self._logic.policy, self._logic.buffer
        described = buffer.dstat()
        counts = buffer.stat()
        watch = self._logic.follower.update(50_000)  # of a long log that was never read, some at a time
        recent = watch.recent()
        rates = watch.rates()
        seconds = watch.livetime.longest_span
        return {
            "auth": self._standing,
            "state": described.dstatus,
            "user": described.user,
            "n_itm": counts.n_itm,
            "buff_size": counts.buff_size,
            "max_size": policy.min_bytes,
            "min_seconds": policy.min_seconds,
            "auto": policy.auto,
            "fill": policy.progress(counts.buff_size, seconds),
            "seconds": watch.livetime.total,
            "longest": seconds,
            "rate": {"segments": sum(n for n, _ in rates[-10:]) / 10, "bytes": sum(b for _, b in rates[-10:]) / 10},
            "rates": [n for n, _ in rates],
            "log": recent[: -_SHOWN - 1 : -1],
            "archives": _optional(list, buffer.archives),
            "strain": _optional(lambda: None, lambda: self._strain(_stretch(recent))),
            "spectrogram": _optional(lambda: None, self._spectrogram),
        }

    def _strain(self, entries: Sequence[LoggedSegment]) -> Strain | None:
        if not entries:
            return None
        self._segments = {
            entry.name: self._segments.get(entry.name) or segment.parse(self._logic.buffer.segment(entry.name))
            for entry in entries
        }
        first = entries[0]
        x: list[float] = []
        h: list[float] = []
        for entry in entries:
            samples = self._segments[entry.name].h
            offset, dt = (entry.t0 or 0.0) - (first.t0 or 0.0), entry.dt or 0.0
            x.extend(offset + i * dt for i in range(len(samples)))
            h.extend(samples)
        kept = decimate_min_max(h, _POINTS)
        return Strain(
            first.detector, first.channel, first.t0 or 0.0, x[-1] + (first.dt or 0.0), [x[i] for i in kept],
            [h[i] for i in kept],
        )  # fmt: skip

    def _spectrogram(self) -> Product | None:
        return next((product for product in self._products() if product.name.endswith(".png")), None)


def read_products(listing: object) -> list[Product]:
    """The products in what GET /products says.

    Raises:
        UpstreamFailed: it says something else.
    """
    try:
        return msgspec.convert(listing, _Listing).products
    except msgspec.ValidationError as error:
        raise UpstreamFailed(f"the products cannot be read: {error}") from error


def decimate_min_max(h: Sequence[float], points: int) -> list[int]:
    """Indices of at most `points` samples to draw in place of all: of each stretch its lowest and its highest."""
    if len(h) <= points:
        return list(range(len(h)))
    step = -(-2 * len(h) // points)
    kept: list[int] = []
    for start in range(0, len(h), step):
        span = range(start, min(start + step, len(h)))
        kept.extend(sorted({min(span, key=h.__getitem__), max(span, key=h.__getitem__)}))
    return kept


def _stretch(recent: Sequence[LoggedSegment]) -> list[LoggedSegment]:
    """The newest entry, and those before it in time that lead up to it without a gap."""
    if not recent or not (dt := recent[-1].dt):
        return []
    newest = recent[-1]
    stretch = [newest]
    same = [e for e in recent if (e.detector, e.channel, e.dt) == (newest.detector, newest.channel, newest.dt)]
    for entry in sorted(same, key=lambda e: e.t0 or 0.0, reverse=True):
        gap = (stretch[-1].t0 or 0.0) - (entry.t0 or 0.0) - entry.n * dt
        if abs(gap) <= dt / 2 and len(stretch) < _STRETCH:
            stretch.append(entry)
    return stretch[::-1]


def _optional(otherwise: Callable[[], object], ask: Callable[[], object]) -> object:
    """What is nice to have: a store that cannot tell it is shown without."""
    try:
        return ask()
    except DatastoreError:
        return otherwise()
