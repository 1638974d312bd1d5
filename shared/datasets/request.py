"""Requests for training sets, as clients send them, checked as far as that needs no strain."""

from __future__ import annotations

import math
import re
from fractions import Fraction
from typing import Literal

import msgspec

from shared.domain.sampling import MAX_GPS
from shared.errors import BadRequest
from shared.storage.batches import ALL_BATCHES, OPEN_BATCH

MAX_EVENTS = 100_000
MAX_WINDOW = 4096.0  # seconds
MAX_CHANNELS = 10_000
_MAX_PIXELS = 1 << 22  # of one Q-transform
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")

TABLE_FORMATS = (
    "ascii", "ascii.basic", "ascii.commented_header", "ascii.csv", "ascii.ecsv", "ascii.fixed_width",
    "ascii.tab", "ascii.cwb", "ascii.omega", "ligolw", "votable",
)  # fmt: skip
"""Formats of trigger tables: those that gwpy's EventTable reads from text."""


class _Strict(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=False):
    pass


class Peaks(_Strict):
    """Peaks of the normalised energy in a channel's Q-transform.

    Attributes:
        channel: its name.
        threshold: least normalised energy, whose median is one.
        frange: lowest and highest frequency, Hz.
        min_separation: seconds; of peaks that are nearer to each other the loudest stays.
        q: quality factor.
    """

    channel: str
    threshold: float = 20.0
    frange: tuple[float, float] = (20.0, 500.0)
    min_separation: float = 1.0
    q: float = 12.0


class Table(_Strict):
    """A trigger table.

    Attributes:
        content: its text.
        format: one of `TABLE_FORMATS`.
        column: of GPS times; by default the first that has one of the usual names.
    """

    content: str
    format: str = "ascii.csv"
    column: str = ""


class Rule(_Strict):
    """How events are chosen, by exactly one of these.

    Attributes:
        every: seconds between two regular tiles, whose times are multiples of it.
        peaks: peaks of energy.
        table: rows of a trigger table.
    """

    every: float | None = None
    peaks: Peaks | None = None
    table: Table | None = None


class Transform(_Strict):
    """Parameters of Q-transforms.

    Attributes:
        q: quality factor.
        frange: lowest and highest frequency, Hz; rows are spaced logarithmically.
        shape: frequencies and times.
        whiten: whether strain is whitened before; otherwise it is band-passed to `frange`.
    """

    q: float = 12.0
    frange: tuple[float, float] = (8.0, 500.0)
    shape: tuple[int, int] = (64, 257)
    whiten: bool = True


class Request(_Strict):
    """A request for a training set. `docs/datasets.md` explains the fields.

    Attributes:
        name: of the set, and of its folder.
        events: GPS times, or a rule.
        window: seconds before and after an event: [begin, end), relative to its time.
        channels: patterns of channel names.
        target: the channel that comes first, and without which there is no event; may be empty.
        rate: samples per second, where a channel has several.
        layout: of the files.
        batch: "open", a number, or an archive's name.
        incomplete: treatment of an event whose window is not wholly there for a channel.
        dtype: of the samples of the layouts `annalisa` and `stack`.
        transform: of the layout `spectrograms`.
    """

    name: str
    events: list[float] | Rule
    window: tuple[float, float] = (-4.0, 4.0)
    channels: tuple[str, ...] = ("*",)
    target: str = ""
    rate: float | None = None
    layout: Literal["annalisa", "stack", "spectrograms"] = "annalisa"
    batch: str = OPEN_BATCH
    incomplete: Literal["drop", "drop-channel", "nan", "error"] = "drop"
    dtype: Literal["float64", "float32"] = "float64"
    transform: Transform = msgspec.field(default_factory=Transform)

    @property
    def interval(self) -> tuple[Fraction, Fraction]:
        """The window in exact seconds."""
        return exact(self.window[0]), exact(self.window[1])

    @property
    def duration(self) -> Fraction:
        """The window's length in seconds."""
        begin, end = self.interval
        return end - begin


def exact(seconds: float) -> Fraction:
    """The decimal number that a double was printed for."""
    return Fraction(repr(seconds))


def check(request: Request) -> Request:
    """Return the request, with its events in order of time, each once.

    Raises:
        BadRequest: a field cannot be used; the text names it.
    """
    check_name(request.name)
    begin, end = request.window
    _require(
        math.isfinite(begin) and math.isfinite(end) and 0 < end - begin <= MAX_WINDOW and abs(begin) <= MAX_WINDOW,
        f"`window` must be two numbers of seconds, begin before end, at most {MAX_WINDOW:g} s apart",
    )
    _require(0 < len(request.channels) <= MAX_CHANNELS, "`channels` must name a channel or pattern, such as V1:*")
    _require(all(request.channels), "`channels` must not hold an empty name")
    _require(request.rate is None or request.rate > 0, "`rate` must be samples per second, such as 16384")
    _require(request.batch != "", "`batch` must be open, a number, or an archive's name")
    _require(request.batch != ALL_BATCHES, "`batch` must be one batch: open, a number, or an archive's name")
    _require(
        request.incomplete != "drop-channel" or request.layout == "annalisa",
        "`incomplete` can be drop-channel only with the layout annalisa, because the others are arrays",
    )
    _check_transform(request)
    if isinstance(request.events, Rule):
        _check_rule(request.events)
        return request
    _require(len(request.events) > 0, "`events` must hold a GPS time, or be a rule: every, peaks or table")
    _check_count(len(request.events))
    _require(all(0 <= t < MAX_GPS for t in request.events), f"`events` must be GPS seconds, from 0 to {MAX_GPS:.0f}")
    return msgspec.structs.replace(request, events=sorted(set(request.events)))


def check_name(name: str) -> None:
    """Raise BadRequest unless `name` can be that of a set."""
    if not is_name(name):
        raise BadRequest(
            "`name` must be 1 to 64 letters, digits, dots, dashes or underscores, begin with a letter or digit, "
            "and not end in .tar"
        )


def is_name(name: str) -> bool:
    """Whether `name` can be that of a set, and so of a folder."""
    return _NAME.fullmatch(name) is not None and not name.endswith(".tar")


def _check_rule(rule: Rule) -> None:
    given = [rule.every, rule.peaks, rule.table]
    _require(sum(one is not None for one in given) == 1, "`events` must have one of every, peaks and table")
    if rule.every is not None:
        _require(1e-3 <= rule.every <= 1e6, "`events.every` must be seconds, from 0.001 to 1000000")
    if rule.peaks is not None:
        peaks = rule.peaks
        _require(peaks.channel != "", "`events.peaks.channel` must name a channel")
        _require(peaks.threshold > 0, "`events.peaks.threshold` must be a positive energy; the median is 1")
        _require(peaks.min_separation >= 0, "`events.peaks.min_separation` must be seconds, 0 or more")
        _check_band("events.peaks", peaks.frange, peaks.q)
    if rule.table is not None:
        formats = ", ".join(TABLE_FORMATS)
        _require(rule.table.format in TABLE_FORMATS, f"`events.table.format` must be one of {formats}")


def _check_transform(request: Request) -> None:
    transform = request.transform
    _check_band("transform", transform.frange, transform.q)
    rows, columns = transform.shape
    _require(
        rows >= 2 and columns >= 2 and rows * columns <= _MAX_PIXELS,
        f"`transform.shape` must be numbers of frequencies and times, 2 or more each, {_MAX_PIXELS} pixels at most",
    )


def _check_band(field: str, frange: tuple[float, float], q: float) -> None:
    low, high = frange
    _require(0 < low < high < 1e6, f"`{field}.frange` must be two frequencies in Hz, the lower one first")
    _require(math.sqrt(11) < q <= 200, f"`{field}.q` must be a quality factor above 3.32, 200 at most")


def least_rate(frange: tuple[float, float], q: float) -> float:
    """Samples per second below which a Q-transform has no window at the upper frequency (Chatterji 2005, 5.3)."""
    return 2 * frange[1] * (1 + math.sqrt(11) / q)


def _check_count(count: int) -> None:
    _require(count <= MAX_EVENTS, f"`events` must be at most {MAX_EVENTS}; make several sets")


def _require(condition: bool, otherwise: str) -> None:
    if not condition:
        raise BadRequest(otherwise)
