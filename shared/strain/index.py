"""The index of strain by time: for each stream its stretches on exact sample grids, and the files that hold them.

A stream has one slot for each multiple of its sampling interval since GPS 0: slot `k` is at `k / rate` seconds. A slot
holds at most one sample. The segment that was stored first keeps it, so the strain at a time never changes. A stretch
is a run of filled slots on one grid: sample `k` is at `(k + phase) / rate`, in exact rational numbers.
"""

from __future__ import annotations

import heapq
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence
from fractions import Fraction
from math import ceil
from typing import NamedTuple

from shared.domain.sampling import GRID_TOLERANCE, MIN_INTERVAL, sample_rate
from shared.domain.segment import StoredSegment
from shared.strain.stated_rate import StatedRate

Key = tuple[str, str, float]
"""Detector, channel and samples per second."""

ON_GRID = Fraction(0)
"""The phase of a stretch on multiples of its sampling interval since GPS 0."""

_RESOLUTION = 1 << 22  # parts of a second; this is the spacing of doubles at the GPS times of this century
_MAX_DENOMINATOR = 1_000_000


class Piece(NamedTuple):
    """`n` samples of the segment in row `row`, from its number `skip` on; they fill the slots from `first` on."""

    row: int
    first: int
    skip: int
    n: int


class Stretch(NamedTuple):
    """The filled slots from `first` to before `stop`; sample `k` is at `(k + phase) / rate` GPS seconds."""

    first: int
    stop: int
    phase: Fraction


def exact_rate(rate: float) -> Fraction:
    """A sampling rate as the simple fraction that the double stands for, as 10/3 for 3.3333333333333335 Hz."""
    exact = Fraction(rate)
    simple = exact.limit_denominator(_MAX_DENOMINATOR)
    return simple if float(simple) == rate else exact


def tolerance(rate: Fraction) -> Fraction:
    """The part of a slot by which a time may miss a sample's and still mean that sample.

    Clients send times as doubles, or the digits of one, and these have a resolution.
    """
    return min(rate / _RESOLUTION, Fraction(1, 4))


def first_slot(slots: Fraction, rate: Fraction) -> int:
    """The first slot that is not before a time, which is given in slots."""
    return ceil(slots - tolerance(rate))


class Stream:
    """The strain of one detector's channel at one rate. Columns of numbers: about 24 bytes a piece, 24 a stretch.

    Attributes:
        key: detector, channel and rate.
        rate: samples per second, exact.
        overlaps: samples dropped because a segment stored earlier fills the same slots.
        samples: filled slots.
    """

    __slots__ = ("_first", "_n", "_phases", "_row", "_skip", "_starts", "_stops", "key", "overlaps", "rate", "samples")

    def __init__(self, key: Key) -> None:
        self.key = key
        self.rate = exact_rate(key[2])
        self.overlaps = 0
        self.samples = 0
        self._starts, self._stops = array("q"), array("q")
        self._phases: list[Fraction] = []
        self._row, self._first, self._skip, self._n = array("I"), array("q"), array("I"), array("I")

    def __len__(self) -> int:
        """The number of stretches."""
        return len(self._starts)

    def stretches(self, first: int | None = None, stop: int | None = None) -> Iterator[Stretch]:
        """The stretches in time order; with bounds, those that fill one of the slots from `first` to before `stop`."""
        begin = 0 if first is None else bisect_right(self._stops, first)
        for i in range(begin, len(self._starts)):
            if stop is not None and self._starts[i] >= stop:
                return
            yield Stretch(self._starts[i], self._stops[i], self._phases[i])

    def ends(self) -> tuple[Stretch, Stretch]:
        """The first and the last stretch."""
        return next(self.stretches()), Stretch(self._starts[-1], self._stops[-1], self._phases[-1])

    def pieces(self, first: int, stop: int) -> Iterator[Piece]:
        """The pieces that fill the slots from `first` to before `stop`, cut to these, in time order."""
        for i in range(max(bisect_right(self._first, first) - 1, 0), len(self._first)):
            begin = self._first[i]
            if begin >= stop:
                return
            low, high = max(begin, first), min(begin + self._n[i], stop)
            if low < high:
                yield Piece(self._row[i], low, self._skip[i] + low - begin, high - low)

    def time(self, stretch: Stretch, slot: int) -> Fraction:
        """GPS time of a slot on a stretch's grid, seconds."""
        return (slot + stretch.phase) / self.rate

    def slot(self, stretch: Stretch, time: Fraction) -> int:
        """The first slot on a stretch's grid that is not before a GPS time; see `first_slot`."""
        return first_slot(time * self.rate - stretch.phase, self.rate)

    def columns(self) -> tuple[tuple[array[int], ...], list[Fraction]]:
        """The columns of the stretches and of the pieces, and the stretches' phases, for a file."""
        return (self._starts, self._stops, self._row, self._first, self._skip, self._n), self._phases

    @classmethod
    def restored(cls, key: Key, overlaps: int, columns: Sequence[array[int]], phases: list[Fraction]) -> Stream:
        """The inverse of `columns`."""
        stream = cls(key)
        stream.overlaps = overlaps
        stream._starts, stream._stops, stream._row, stream._first, stream._skip, stream._n = columns
        stream._phases = phases
        stream.samples = sum(columns[1]) - sum(columns[0])
        return stream

    def add(self, row: int, t0: float, n: int) -> None:
        """Add the segment in row `row`: `n` samples from GPS time `t0` on. It fills the slots that are free."""
        x = t0 * self.key[2]  # within 0.01 slots until 2^17 Hz
        if self._starts:
            phase = self._phases[-1]
            miss = x if phase is ON_GRID else x - float(phase)
            slot = round(miss)
            if slot == self._stops[-1] and abs(miss - slot) <= GRID_TOLERANCE:
                self._append(row, slot, n)
                return
            if slot > self._stops[-1] + 1:
                slot, phase = self.grid(t0)
                self._starts.append(slot)
                self._stops.append(slot)
                self._phases.append(phase)
                self._append(row, slot, n)
                return
        self.fill(row, *self._place(x, n, t0), n)

    def _append(self, row: int, slot: int, n: int) -> None:
        self._row.append(row)
        self._first.append(slot)
        self._skip.append(0)
        self._n.append(n)
        self._stops[-1] = slot + n
        self.samples += n

    def fill(self, row: int, first: int, phase: Fraction, n: int) -> None:
        """Fill those of the slots from `first` on that are free with `n` samples of row `row`."""
        position, stop = first, first + n
        free = []
        for taken in self.stretches(first, stop):
            if taken.first > position:
                free.append((position, taken.first))
            self.overlaps += min(taken.stop, stop) - max(taken.first, first)
            position = taken.stop
        if position < stop:
            free.append((position, stop))
        for begin, end in free:
            self._insert(Piece(row, begin, begin - first, end - begin), phase)

    def _place(self, x: float, n: int, t0: float) -> tuple[int, Fraction]:
        """The first slot of a segment, and its phase: of the stretch that it touches if it is on its grid."""
        i = bisect_right(self._starts, round(x) + 1) - 1
        for near in (i, i + 1):
            if 0 <= near < len(self._starts):
                phase = self._phases[near]
                slot = round(x - float(phase))
                touches = self._starts[near] - n <= slot <= self._stops[near]
                if touches and abs(x - float(phase) - slot) <= GRID_TOLERANCE:
                    return slot, phase
        return self.grid(t0)

    def grid(self, t0: float) -> tuple[int, Fraction]:
        """The slot nearest to a GPS time, and the time's distance from it in slots, 0 where a double cannot tell."""
        numerator, denominator = t0.as_integer_ratio()  # whole numbers, because fractions cost ten times as much
        numerator *= self.rate.numerator
        denominator *= self.rate.denominator
        slot = (2 * numerator + denominator) // (2 * denominator)
        miss = abs(numerator - slot * denominator)
        if miss * self.rate.denominator * _RESOLUTION <= denominator * self.rate.numerator:
            return slot, ON_GRID
        return slot, Fraction(repr(t0)) * self.rate - slot

    def _insert(self, piece: Piece, phase: Fraction) -> None:
        at = bisect_left(self._first, piece.first)
        self._row.insert(at, piece.row)
        self._first.insert(at, piece.first)
        self._skip.insert(at, piece.skip)
        self._n.insert(at, piece.n)
        self.samples += piece.n
        first, stop = piece.first, piece.first + piece.n
        right = bisect_left(self._starts, first)
        left = right - 1
        if left >= 0 and self._stops[left] == first and abs(self._phases[left] - phase) <= GRID_TOLERANCE:
            self._stops[left] = stop
            self._merge(left)
        elif (
            right < len(self._starts)
            and self._starts[right] == stop
            and abs(self._phases[right] - phase) <= GRID_TOLERANCE
        ):
            self._starts[right] = first
        else:
            self._starts.insert(right, first)
            self._stops.insert(right, stop)
            self._phases.insert(right, phase)

    def _merge(self, left: int) -> None:
        """Join a stretch and the next one where they meet on the grid of the former."""
        right = left + 1
        if right == len(self._starts):
            return
        behind = self._starts[right] - self._stops[left]  # 1 for phases of almost half a slot, with opposite signs
        if behind > 1 or abs(behind + self._phases[right] - self._phases[left]) > GRID_TOLERANCE:
            return
        if behind:
            for i in range(bisect_left(self._first, self._starts[right]), len(self._first)):
                if self._first[i] >= self._stops[right]:
                    break
                self._first[i] -= behind
        self._stops[left] = self._stops[right] - behind
        del self._starts[right], self._stops[right], self._phases[right]


class StrainIndex:
    """The index of one batch. Not thread-safe.

    A row is a segment, or a run of a block. Rows are columns of numbers in order of arrival, 28 bytes each.

    Attributes:
        streams: by detector, channel and rate.
        unusable: rows without usable times.
    """

    def __init__(self) -> None:
        self.streams: dict[Key, Stream] = {}
        self.unusable: list[int] = []
        self._stated: dict[tuple[str, str], dict[float, StatedRate]] = {}
        self._detectors: dict[str, list[str]] = {}  # of each channel
        self.numbers, self.crc32s = array("q"), array("q")
        self._t0, self._n = array("d"), array("I")

    def __len__(self) -> int:
        """The number of rows."""
        return len(self.numbers)

    def add(self, number: int, segment: StoredSegment) -> None:
        """Add a segment that arrived after all others; `number` is its file's."""
        _, detector, channel, t0, dt, n, crc32 = segment
        row = len(self.numbers)
        self.numbers.append(number)
        self.crc32s.append(crc32)
        self._t0.append(t0)
        self._n.append(n)
        if not dt >= MIN_INTERVAL or not n:
            self.unusable.append(row)
            return
        rate = sample_rate(dt)
        channel_rates = self._rates_of(detector, channel)
        stated = channel_rates.get(rate)
        if stated is None:
            stated = channel_rates[rate] = StatedRate(rate)
        before = self._n[stated.rows[-1]] if stated.rows else 0
        old = stated.true
        if stated.add(row, t0, n, before):
            self._rejoin(detector, channel, {old, stated.true})
            return
        key = (detector, channel, stated.true)
        stream = self.streams.get(key)
        if stream is None:
            stream = self.streams[key] = Stream(key)
        stream.add(row, t0, n)

    def t0(self, row: int) -> float:
        """GPS time of the first sample of a row, seconds, as its segment says."""
        return self._t0[row]

    def keys_of(self, channel: str) -> list[Key]:
        """The streams of a channel."""
        return sorted(
            {
                (detector, channel, one.true)
                for detector in self._detectors.get(channel, ())
                for one in self._stated[detector, channel].values()
            }
        )

    def columns(self) -> tuple[array[int], array[int], array[float], array[int]]:
        """The columns of the rows, for a file."""
        return self.numbers, self.crc32s, self._t0, self._n

    def stated(self) -> Iterator[tuple[str, str, list[float], array[int]]]:
        """Detector, channel, measurement and rows of each stated rate, for a file."""
        for (detector, channel), rates in self._stated.items():
            for one in rates.values():
                yield detector, channel, one.snapshot(), one.rows

    @classmethod
    def restored(
        cls,
        columns: tuple[array[int], array[int], array[float], array[int]],
        unusable: list[int],
        streams: Iterable[Stream],
        stated: Iterable[tuple[str, str, list[float], array[int]]],
    ) -> StrainIndex:
        """The inverse of `columns` and `stated`."""
        index = cls()
        index.numbers, index.crc32s, index._t0, index._n = columns
        index.unusable = unusable
        index.streams = {stream.key: stream for stream in streams}
        for detector, channel, figures, rows in stated:
            one = StatedRate.restored(figures, rows)
            index._rates_of(detector, channel)[one.rate] = one
        return index

    def _rates_of(self, detector: str, channel: str) -> dict[float, StatedRate]:
        found = self._stated.get((detector, channel))
        if found is None:
            found = self._stated[detector, channel] = {}
            self._detectors.setdefault(channel, []).append(detector)
        return found

    def stated_rates(self, key: Key) -> list[float]:
        """The rates by which segments of a stream were sent although their times contradict these."""
        members = self._members(key)
        return [stated.rate for stated in members if stated.contradicted]

    def rows(self, key: Key) -> Iterator[int]:
        """The rows of a stream, in order of arrival."""
        return heapq.merge(*(stated.rows for stated in self._members(key)))

    def _members(self, key: Key) -> list[StatedRate]:
        detector, channel, rate = key
        return [stated for _, stated in sorted(self._stated[detector, channel].items()) if stated.true == rate]

    def _rejoin(self, detector: str, channel: str, rates: set[float]) -> None:
        for rate in rates:
            key = (detector, channel, rate)
            self.streams.pop(key, None)
            stream = Stream(key)
            for row in self.rows(key):
                stream.add(row, self._t0[row], self._n[row])
            if len(stream):
                self.streams[key] = stream
