"""Tracks: a stream over several batches, where the samples that were stored first stay."""

from __future__ import annotations

import fnmatch
import itertools
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from fractions import Fraction

from shared.archives.batch_files import Where
from shared.catalog.catalog import Indexed
from shared.domain.records import file_name
from shared.errors import Ambiguous, BadRequest, Gap, NoData, SpanTooLong
from shared.strain.index import Key
from shared.strain.reading import DataFolder, FileSlice
from shared.strain.series import Part, Series, Source
from shared.strain.stream import Stream, first_slot

Span = tuple[Fraction, Fraction]
"""GPS times in seconds: of the first sample, and of the first one after the last."""

_CHUNK = 1 << 31  # samples; columns of an index hold 32 bits
_MAX_GLOB = 256  # characters


class Track:
    """A stream and the batches that hold some of it.

    Attributes:
        key: detector, channel and samples per second.
        batches: in the order in which they were stored.
    """

    def __init__(self, key: Key, batches: Sequence[Indexed]) -> None:
        self.key = key
        self.batches = batches
        self._streams = [batch.index.streams[key] for batch in batches]
        self.rate = self._streams[0].rate

    @property
    def overlaps(self) -> int:
        """Samples dropped within the batches because others were stored before."""
        return sum(stream.overlaps for stream in self._streams)

    def ends(self) -> Span:
        """The span from the first to the last sample, whatever is missing between."""
        spans = [(s.time(a, a.first), s.time(b, b.stop)) for s in self._streams for a, b in [s.ends()]]
        return min(begin for begin, _ in spans), max(end for _, end in spans)

    def filled(self) -> tuple[int, int]:
        """The number of samples, and of stretches."""
        stream = self._streams[0] if len(self._streams) == 1 else self._joined(None, None)[0]
        return stream.samples, len(stream)

    def spans(self, start: Fraction | None = None, end: Fraction | None = None) -> Iterator[Span]:
        """The spans of contiguous strain in time order, cut to the interval."""
        stream, _ = self._joined(start, end)
        for stretch in stream.stretches():
            first, stop = stretch.first, stretch.stop
            if start is not None:
                first = max(first, stream.slot(stretch, start))
            if end is not None:
                stop = min(stop, stream.slot(stretch, end))
            if first < stop:
                yield stream.time(stretch, first), stream.time(stretch, stop)

    def has(self, start: Fraction | None, end: Fraction | None) -> bool:
        """Whether there is any sample in the interval."""
        for stream in self._streams:
            for stretch in stream.stretches(*self._slots(start, end)):
                first = stretch.first if start is None else max(stretch.first, stream.slot(stretch, start))
                if first < (stretch.stop if end is None else min(stretch.stop, stream.slot(stretch, end))):
                    return True
        return False

    def _slots(self, start: Fraction | None, end: Fraction | None) -> tuple[int | None, int | None]:
        """Slots that are sure to hold the interval, whatever the phase of a stretch."""
        return (
            None if start is None else int(start * self.rate // 1) - 1,
            None if end is None else int(-(-end * self.rate // 1)) + 2,
        )

    def _joined(self, start: Fraction | None, end: Fraction | None) -> tuple[Stream, list[tuple[int, int]]]:
        """The batches' stretches as one stream, and for each of its rows the batch and the slot where it begins."""
        joined = Stream(self.key[2])
        rows: list[tuple[int, int]] = []
        for number, stream in enumerate(self._streams):
            for stretch in stream.stretches(*self._slots(start, end)):
                for first in range(stretch.first, stretch.stop, _CHUNK):
                    joined.fill(len(rows), first, stretch.phase, min(stretch.stop - first, _CHUNK))
                    rows.append((number, first))
        return joined, rows

    def series(
        self, start: Fraction, end: Fraction, max_samples: int, folders: dict[Where | str, DataFolder] | None = None
    ) -> list[Series]:
        """The samples with `start <= t < end`, a series for each stretch. Their files are read later.

        Args:
            start: GPS time, seconds.
            end: GPS time, seconds.
            max_samples: the most there may be.
            folders: opened ones by place, for one who reads several series; it takes up those that are opened here.

        Raises:
            SpanTooLong: they could be more than `max_samples`.
            NoData: there are none.
            NotFrozen: a batch is being archived.
        """
        if (end - start) * self.rate > max_samples:
            longest = float(max_samples / self.rate)
            raise SpanTooLong(
                f"{float(end - start):g} s at {float(self.rate):g} Hz are more than {max_samples} samples: "
                f"ask for {longest:g} s at a time"
            )
        detector, channel, _ = self.key
        joined, rows = self._joined(start, end)
        folders = {} if folders is None else folders
        found = []
        for stretch in joined.stretches():
            first = max(stretch.first, joined.slot(stretch, start))
            stop = min(stretch.stop, joined.slot(stretch, end))
            if first < stop:
                sources = list(self._sources(joined, rows, folders, first, stop))
                part = Part(0, stop - first, sources)
                time = joined.time(stretch, first)
                found.append(Series(detector, channel, self.rate, time, stop - first, [part]))
        if not found:
            raise NoData(f"there is no strain of {channel or detector} from {_text(start)} to {_text(end)}")
        return found

    def _sources(
        self, joined: Stream, rows: list[tuple[int, int]], folders: dict[Where | str, DataFolder], first: int, stop: int
    ) -> Iterator[Source]:
        for joint in joined.pieces(first, stop):
            number, begin = rows[joint.row]
            batch, stream = self.batches[number], self._streams[number]
            try:
                folder = folders[batch.folder]
            except KeyError:
                folder = folders[batch.folder] = DataFolder(batch.folder)
            slot = begin + joint.skip
            for piece in stream.pieces(slot, slot + joint.n):
                index = batch.index
                name, run = file_name(index.numbers[piece.row]), (*self.key[:2], index.t0(piece.row))
                yield folder, FileSlice(name, piece.skip, piece.n, index.crc32s[piece.row], run)


def tracks(batches: Sequence[Indexed], wanted: Callable[[Key], bool]) -> Iterator[Track]:
    """The tracks of all streams that are wanted, by detector, channel and rate."""
    for key in sorted({key for batch in batches for key in batch.index.streams if wanted(key)}):
        yield Track(key, [batch for batch in batches if key in batch.index.streams])


def one_track(
    batches: Sequence[Indexed],
    channel: str | None,
    detector: str | None,
    rate: float | None,
    interval: tuple[Fraction | None, Fraction | None] = (None, None),
) -> Track:
    """The only track with these names and this rate that has strain in the interval.

    Raises:
        NoData: there is none.
        Ambiguous: there are several.
    """
    found: dict[Key, list[Indexed]] = {}
    for batch in batches:
        keys: Iterable[Key] = batch.index.streams if channel is None else batch.index.keys_of(channel)
        for key in keys:
            if detector in (None, key[0]) and (rate is None or abs(key[2] - rate) <= 1e-6 * rate):
                found.setdefault(key, []).append(batch)
    if rate is not None and any(key[2] == rate for key in found):  # others may be within the tolerance
        found = {key: held for key, held in found.items() if key[2] == rate}
    candidates = [Track(key, found[key]) for key in sorted(found)]
    name = channel or detector or "this name"
    if not candidates:
        raise NoData(f"there is no channel {name!r} here; GET /channels lists them, `batch=all` in archives too")
    held = [track for track in candidates if track.has(*interval)] if len(candidates) > 1 else candidates
    if not held:
        raise NoData(f"there is no strain of {name} at that time; GET /coverage tells where there is")
    if len(held) > 1:
        error = Ambiguous(f"{len(held)} streams match: choose with `channel`, `detector` or `rate`")
        listed = [{"detector": d, "channel": c, "rate": r} for d, c, r in (track.key for track in held[:100])]
        error.details = {"streams": listed}
        raise error
    return held[0]


def joined(series: Sequence[Series], start: Fraction, end: Fraction, fill: float) -> Series:
    """One series from `start` to `end`; what is missing has the value `fill`.

    A stretch off the grid of the first one is moved onto it, by up to half a sample.
    """
    first = series[0]
    rate = first.rate
    t0 = first.t0 + first_slot((start - first.t0) * rate, rate) / rate
    n = first_slot((end - t0) * rate, rate)
    parts, position = [], 0
    for one in series:
        offset = max(round((one.t0 - t0) * one.rate), position)
        parts.append(Part(offset, one.n, one.parts[0].sources))
        position = offset + one.n
    return first._replace(t0=t0, n=max(n, position), parts=parts, fill=fill)


def require_whole(series: Sequence[Series], start: Fraction, end: Fraction) -> Series:
    """The only series, if it has every sample from `start` to `end`.

    Raises:
        Gap: part of them is missing; `details` has the spans.
    """
    active = [(one.t0, one.t0 + one.n / one.rate) for one in series]
    missing = gaps(active, start, end, series[0].rate)
    if len(series) == 1 and not missing:
        return series[0]
    error = Gap(f"spans are missing: {len(missing)}; gaps=nan, gaps=zero and gaps=split answer with what is there")
    error.details = {"missing": seconds(missing), "active": seconds(active)}
    raise error


def gaps(active: Sequence[Span], start: Fraction | None, end: Fraction | None, rate: Fraction) -> list[Span]:
    """The spans without samples: between active ones, and at the ends if a sample of their grid is missing there."""
    found = [(before[1], after[0]) for before, after in itertools.pairwise(active) if after[0] > before[1]]
    if active and start is not None and first_slot((start - active[0][0]) * rate, rate) < 0:
        found.insert(0, (start, active[0][0]))
    if active and end is not None and first_slot((end - active[-1][1]) * rate, rate) > 0:
        found.append((active[-1][1], end))
    return found


def seconds(spans: Iterable[Span]) -> list[list[float]]:
    """Spans as pairs of numbers for JSON: the nearest doubles."""
    return [[float(begin), float(end)] for begin, end in spans]


def glob(pattern: str) -> Callable[[str], bool]:
    """A test of names by a pattern of `*`, `?` and `[...]`. Each `*` is matched once, without going back.

    Raises:
        BadRequest: the pattern is too long.
    """
    if len(pattern) > _MAX_GLOB:
        raise BadRequest(f"`channel` is a pattern of at most {_MAX_GLOB} characters")
    expression = re.compile(fnmatch.translate(re.sub(r"\*+", "*", pattern)))
    return lambda name: expression.match(name) is not None


def _text(time: Fraction) -> str:
    return f"{float(time):.9f}".rstrip("0").rstrip(".")
