"""Choosing events: the GPS times of a set, by the rule that its request names."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from fractions import Fraction
from typing import NamedTuple

from shared.catalog.catalog import Indexed
from shared.catalog.tracks import Span, Track, seconds
from shared.datasets.peaks import Peak, separated
from shared.datasets.request import MAX_EVENTS, Peaks, Request, Rule, Table
from shared.datasets.selection import peaks_track, tiles
from shared.datasets.windows import whole_of
from shared.domain.sampling import MAX_GPS
from shared.errors import BadRequest, DatastoreError
from shared.strain.constant_runs import between, constant_runs

_MAX_SAMPLES = 1 << 62


class Event(NamedTuple):
    """An event: its GPS time, and what else the manifest says of it."""

    gps: float
    details: dict[str, object]

    @property
    def name(self) -> str:
        """The event's name: its GPS time in decimal digits."""
        return repr(self.gps)


def choose(
    request: Request, batch: Indexed, tracks: list[Track], report: Callable[[int, int], None]
) -> tuple[list[Event], list[dict[str, object]]]:
    """The events of a set in order of time, and remarks on strain in which none could be looked for.

    Args:
        request: names them, or has a rule.
        batch: in which peaks are looked for.
        tracks: of the set, the target first.
        report: called with how many seconds of strain are done, and how many there are.

    Raises:
        BadRequest: the rule gives none, too many, or cannot be followed.
        NotFrozen, StorageFailed, SegmentDamaged: strain cannot be read.
    """
    rule = request.events
    remarks: list[dict[str, object]] = []
    if not isinstance(rule, Rule):
        events = [Event(gps, {}) for gps in rule]
    elif rule.every is not None:
        events = [Event(gps, {}) for gps in tiles(tracks[0], rule.every, request, MAX_EVENTS)]
    elif rule.table is not None:
        events = [Event(gps, {}) for gps in _table(rule.table)]
    else:
        track = peaks_track(batch, request)
        assert rule.peaks is not None
        assert track is not None
        events, remarks = _peaks(track, rule.peaks, report)
    if len(events) > MAX_EVENTS:
        raise BadRequest(f"`events` gives {len(events)}, more than {MAX_EVENTS}: be stricter, or make several sets")
    return events, remarks


def _table(table: Table) -> list[float]:
    from shared.datasets import qtransform

    times = qtransform.times(table)
    if not times or times[-1] >= MAX_GPS:
        raise BadRequest(f"`events.table` must hold GPS seconds, from 0 to {MAX_GPS:.0f}, one row or more")
    return times


def _peaks(
    track: Track, peaks: Peaks, report: Callable[[int, int], None]
) -> tuple[list[Event], list[dict[str, object]]]:
    from shared.datasets import qtransform

    spans = list(track.spans())
    total, done = math.ceil(sum(end - begin for begin, end in spans)), Fraction(0)
    found: list[Peak] = []
    remarks: list[dict[str, object]] = []

    def refuse(reason: str, span: Span) -> None:
        remarks.append({"channel": peaks.channel, "span": seconds([span])[0], "reason": reason})

    for begin, end in _pieces(spans, qtransform.MAX_DURATION, 2 * qtransform.SPOILT):
        report(int(done), total)
        done += end - begin
        for series in track.series(begin, end, _MAX_SAMPLES):
            samples = whole_of(series)
            runs = constant_runs(samples, float(track.rate))
            for first, n in runs:
                refuse("equal samples", (series.t0 + first / track.rate, series.t0 + (first + n) / track.rate))
            for first, n in between(runs, len(samples)):
                t0 = series.t0 + first / track.rate
                if n / track.rate < qtransform.MIN_DURATION:
                    refuse(f"under {qtransform.MIN_DURATION:g} s of contiguous strain", (t0, t0 + n / track.rate))
                    continue
                try:
                    found += qtransform.loud(samples[first : first + n], float(t0), float(track.rate), peaks)
                except (DatastoreError, OSError, MemoryError):
                    raise
                except Exception as error:
                    refuse(f"{type(error).__name__}: {error}", (t0, t0 + n / track.rate))
    kept = separated(found, peaks.min_separation)
    return [Event(p.gps, {"energy": p.energy, "frequency": p.frequency}) for p in kept], remarks


def _pieces(spans: Iterable[Span], longest: float, overlap: float) -> Iterator[Span]:
    """Spans of at most `longest` seconds that overlap by `overlap` seconds."""
    most, shared = Fraction(longest), Fraction(overlap)
    for begin, end in spans:
        count = max(1, math.ceil((end - begin - shared) / (most - shared)))
        step = (end - begin - shared) / count
        for number in range(count):
            yield begin + number * step, min(begin + (number + 1) * step + shared, end)
