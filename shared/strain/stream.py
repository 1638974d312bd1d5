"""A stream: strain at one rate as stretches on exact sample grids, and the pieces of segments that fill them.

A stream has one slot for each multiple of its sampling interval since GPS 0: slot `k` is at `k / rate` seconds. A slot
holds at most one sample. The segment that was stored first keeps it, so the strain at a time never changes. A stretch
is a run of filled slots on one grid: sample `k` is at `(k + phase) / rate`, in exact rational numbers.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from fractions import Fraction
from math import ceil
from typing import NamedTuple

from shared.domain.sampling import GRID_TOLERANCE, exact_rate

ON_GRID = Fraction(0)
"""The phase of a stretch on multiples of its sampling interval since GPS 0."""

_RESOLUTION = 1 << 22  # parts of a second; this is the spacing of doubles at the GPS times of this century


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


def tolerance(rate: Fraction) -> Fraction:
    """The part of a slot by which a time may miss a sample's and still mean that sample.

    Clients send times as doubles, or the digits of one, and these have a resolution.
    """
    return min(rate / _RESOLUTION, Fraction(1, 4))


def first_slot(slots: Fraction, rate: Fraction) -> int:
    """The first slot that is not before a time, which is given in slots."""
    return ceil(slots - tolerance(rate))


class Stream:
    """Strain at one rate: a channel's, or that of a cohort. Columns of numbers: about 24 bytes a piece, 24 a stretch.

    Args:
        hertz: samples per second.

    Attributes:
        hertz: as given.
        rate: samples per second, exact.
        overlaps: samples dropped because a segment stored earlier fills the same slots.
        samples: filled slots.
    """

    __slots__ = (
        "_first", "_n", "_phases", "_row", "_skip", "_starts", "_stops", "hertz", "overlaps", "rate", "samples",
    )  # fmt: skip

    def __init__(self, hertz: float) -> None:
        self.hertz = hertz
        self.rate = exact_rate(hertz)
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
    def restored(cls, hertz: float, overlaps: int, columns: Sequence[array[int]], phases: list[Fraction]) -> Stream:
        """The inverse of `columns`."""
        stream = cls(hertz)
        stream.overlaps = overlaps
        stream._starts, stream._stops, stream._row, stream._first, stream._skip, stream._n = columns
        stream._phases = phases
        stream.samples = sum(columns[1]) - sum(columns[0])
        return stream

    def copy(self) -> Stream:
        """A stream with the same strain, to which other segments can be added."""
        columns, phases = self.columns()
        return self.restored(self.hertz, self.overlaps, [column[:] for column in columns], phases[:])

    def add(self, row: int, t0: float, n: int) -> None:
        """Add the segment in row `row`: `n` samples from GPS time `t0` on. It fills the slots that are free."""
        x = t0 * self.hertz  # within 0.01 slots until 2^17 Hz
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
