"""The status document: the JSON behind the status page. It never holds the operator's token."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

import msgspec

from functions.logic.happenings import Happenings
from shared.config import AuthMode
from shared.config.version import program_version
from shared.domain import segment
from shared.domain.messages import ArchiveList, ErrorBody, ProductList
from shared.domain.state import FROZEN
from shared.errors import DatastoreError
from shared.logic.log_follower import LoggedSegment
from shared.logic.service import DatastoreLogic

T = TypeVar("T")

_MAX_AGE = 0.5  # seconds for which a document is served, however many clients read it
_LOG_LINES = 12
_LOG_PAGE = 50_000  # entries of a long unread log that one document reads
_PLOT_SEGMENTS = 16  # if they are contiguous
_PLOT_SAMPLES = 1 << 17  # in all of them: reading more would cost seconds and gigabytes, at each look at the page
_PLOT_POINTS = 1200  # more than a plot has pixels
_OF_ALL = ("overview.png", "summary.html")  # products of all channels
_PLOTS = 8  # of several channels that are kept for _MAX_AGE
_NAMES = 500  # of channels to choose from


class StrainPlot(msgspec.Struct):
    """The newest contiguous strain: `h[i]` at GPS time `t0 + x[i]` seconds, decimated for a plot."""

    detector: str
    channel: str
    t0: float
    seconds: float
    x: list[float]
    h: list[float]
    channels: list[str]
    """Others that came with the newest segment, in a block; 500 at most."""


class StatusDocument:
    """The document, made at most twice a second. Safe to use from several threads.

    Args:
        logic: the Datastore Logic that it describes.
        products: returns the products of preproc, and how far they have come.
        mode: of authentication; the page warns, or requests a token.
        name: of the store, STORE_NAME.
        links: text and URL of further pages that are served at the same address.
        check: raises what keeps the store from taking segments, as its readiness probe does.
        strain_routes: whether this process serves strain by GPS time; the page then lists the channels unasked.
    """

    def __init__(
        self,
        logic: DatastoreLogic,
        products: Callable[[], ProductList] = ProductList,
        mode: AuthMode = "off",
        *,
        name: str = "",
        links: Mapping[str, str] | None = None,
        check: Callable[[], object] = lambda: None,
        strain_routes: bool = False,
    ) -> None:
        self._logic = logic
        self._products = products
        self._mode = mode
        self._about = {
            "name": name,
            "version": program_version(),
            "links": links or {},
            "strain_routes": strain_routes,
        }
        self._check = check
        self._happenings = Happenings()
        self._lock = threading.Lock()
        self._document: dict[str, object] = {}
        self._valid_until = 0.0
        self._recent: list[LoggedSegment] = []
        self._plots: dict[str, StrainPlot | None] = {}  # by the channel that was asked for
        self._decimated: dict[tuple[str, str, float | None], list[tuple[int, float]]] = {}  # of the last plots

    def get(self, channel: str = "") -> dict[str, object]:
        """The document, with the plot of a channel, by default that of the newest segment.

        Raises:
            DatastoreError: the Data Buffer does not answer, or cannot now.
        """
        with self._lock:
            if time.monotonic() >= self._valid_until:
                self._document = self._make()
                self._valid_until = time.monotonic() + _MAX_AGE
                self._forget_plots()
            if channel not in self._plots:
                while len(self._plots) >= _PLOTS:
                    del self._plots[next(iter(self._plots))]
                self._plots[channel] = _optional(lambda: self._plot(channel), None)
            return {**self._document, "strain": self._plots[channel]}

    def _forget_plots(self) -> None:
        self._plots.clear()
        names = {entry.name for entry in self._recent}
        self._decimated = {key: kept for key, kept in self._decimated.items() if key[0] in names}

    def _make(self) -> dict[str, object]:
        policy, buffer = self._logic.policy, self._logic.buffer
        description = buffer.dstat()
        counts = buffer.stat()
        batches = _optional(buffer.archives, ArchiveList([]))  # before the log: what is archived in between counts once
        follower = self._logic.follower
        figures = follower.update(_LOG_PAGE)
        recent = self._recent = follower.recent()
        arrived = [second for archive in batches.archives for second in archive.arrived]
        rates = follower.rates(arrived if batches.open else None)
        products: ProductList = _optional(self._products, ProductList())
        pictures = [product for product in products.products if _is_picture(product.name)]
        others = {product.name: product.url for product in products.products if product.name in _OF_ALL}
        return {
            **self._about,
            "auth": self._mode,
            "state": description.status,
            "problem": self._problem(),
            "batch": batches.open.batch if batches.open else None,
            "opened": batches.open.opened if batches.open else None,
            "frozen": batches.open.frozen if batches.open and description.status == FROZEN else None,
            "user": description.user,
            "n_itm": counts.segments,
            "buff_size": counts.bytes,
            "max_size": policy.min_bytes,
            "min_seconds": policy.min_seconds,
            "auto": policy.auto,
            "fill": policy.progress(counts.bytes, figures.longest),
            "seconds": figures.seconds,
            "longest": figures.longest,
            "channels": figures.channels,
            "reading": [figures.entries, counts.segments] if figures.entries < counts.segments else None,
            "rate": {
                "segments": sum(n for n, _ in rates[-10:]) / 10,
                "bytes": sum(b for _, b in rates[-10:]) / 10,
                "samples": follower.samples(10),
            },
            "rates": [n for n, _ in rates],
            "log": [msgspec.structs.replace(entry, holds=()) for entry in recent[: -_LOG_LINES - 1 : -1]],
            "archives": batches.archives,
            "next": batches.next,
            "events": self._happenings.newest(batches, products.preproc),
            "spectrogram": pictures[0] if pictures else None,
            "pictures": pictures,
            "overview": others.get("overview.png"),
            "summary": others.get("summary.html"),
            "products": {"batch": products.batch, "verdict": products.verdict, "files": len(products.products)},
            "preproc": products.preproc,
        }

    def _problem(self) -> ErrorBody | None:
        """What keeps the store from taking segments though it answers, such as a full disk."""
        try:
            self._check()
        except DatastoreError as error:
            return ErrorBody(error.code, str(error))
        return None

    def _plot(self, channel: str) -> StrainPlot | None:
        names = [name for runs in self._recent[-1].holds for name in runs.channels] if self._recent else []
        entries = _newest_contiguous(_of_channel(self._recent, channel or next(iter(names), "")))
        if not entries:
            return None
        first = entries[0]
        x: list[float] = []
        h: list[float] = []
        for entry in entries:
            offset, dt = (entry.t0 or 0.0) - (first.t0 or 0.0), entry.dt or 0.0
            for index, sample in self._thinned(entry):
                x.append(offset + index * dt)
                h.append(sample)
        kept = decimate_min_max(h, _PLOT_POINTS)
        newest = entries[-1]
        seconds = (newest.t0 or 0.0) - (first.t0 or 0.0) + newest.samples * (newest.dt or 0.0)
        return StrainPlot(
            first.detector, first.channel, first.t0 or 0.0, seconds, [x[i] for i in kept], [h[i] for i in kept],
            sorted(dict.fromkeys(names))[:_NAMES],
        )  # fmt: skip

    def _thinned(self, entry: LoggedSegment) -> list[tuple[int, float]]:
        """Number and value of the samples that a plot of this segment alone needs; the others are not kept."""
        key = entry.name, entry.channel, entry.t0
        if key not in self._decimated:
            buffer = self._logic.buffer
            in_block = bool(entry.format)
            body = buffer.channel(entry.name, entry.channel, entry.t0) if in_block else buffer.segment(entry.name)
            h = segment.samples(body)
            self._decimated[key] = [(i, h[i]) for i in decimate_min_max(h, _PLOT_POINTS)]
        return self._decimated[key]


def _is_picture(name: str) -> bool:
    """Whether a product is the picture of a spectrogram in full size."""
    return name.endswith(".png") and name not in _OF_ALL and not name.endswith("/thumbnail.png")


def decimate_min_max(h: Sequence[float], points: int) -> list[int]:
    """Indices of at most `points` samples for a plot: the lowest and the highest of each interval."""
    if len(h) <= points:
        return list(range(len(h)))
    step = -(-2 * len(h) // points)
    kept: list[int] = []
    for start in range(0, len(h), step):
        interval = h[start : start + step]
        kept.extend(sorted({start + interval.index(min(interval)), start + interval.index(max(interval))}))
    return kept


def _of_channel(recent: Sequence[LoggedSegment], channel: str) -> list[LoggedSegment]:
    """The segments, and the runs of a channel in blocks as if they were segments; of all channels where it is empty."""
    found = []
    for entry in recent:
        for runs in entry.holds:
            if channel in runs.channels:
                run = {"detector": runs.detector, "channel": channel, "t0": runs.t0, "dt": runs.dt, "samples": runs.n}
                found.append(msgspec.structs.replace(entry, holds=(), channels=0, **run))
        if not entry.format and channel in ("", entry.channel):
            found.append(entry)
    return found


def _newest_contiguous(recent: Sequence[LoggedSegment]) -> list[LoggedSegment]:
    """The newest entry, behind those of its channel that precede it in time without a gap; none if it is too long."""
    if not recent or not (dt := recent[-1].dt) or (left := _PLOT_SAMPLES - recent[-1].samples) < 0:
        return []
    newest = recent[-1]
    contiguous = [newest]
    channel = [e for e in recent if (e.detector, e.channel, e.dt) == (newest.detector, newest.channel, newest.dt)]
    for entry in sorted(channel, key=lambda e: e.t0 or 0.0, reverse=True):
        gap = (contiguous[-1].t0 or 0.0) - (entry.t0 or 0.0) - entry.samples * dt
        if abs(gap) <= dt / 2 and len(contiguous) < _PLOT_SEGMENTS and entry.samples <= left:
            left -= entry.samples
            contiguous.append(entry)
    return contiguous[::-1]


def _optional(query: Callable[[], T], default: T) -> T:
    """The query's result, or the default if the store cannot answer."""
    try:
        return query()
    except DatastoreError:
        return default
