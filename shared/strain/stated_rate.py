"""Sampling rates as segments state them, checked by the segments' times as they arrive."""

from __future__ import annotations

from array import array

from shared.domain.sampling import RATE_TOLERANCE, sample_rate

_CONTIGUOUS = 1e-3  # relative; by which the distance of two segments may contradict the stated sampling interval
_MIN_MEASURED = 0.2  # seconds; a double holds GPS time to 0.1 µs, so that shorter strain measures no rate


class StatedRate:
    """The segments of a channel that state one rate, and the rate that their times tell.

    A client that rounds its sampling interval sends times that contradict it. Detectors sample at whole rates, so a
    measured rate near a whole number is that number. The longest contiguous run is measured whenever it has doubled.

    Attributes:
        rate: samples per second, as stated.
        true: samples per second, as far as the times tell.
        contradicted: whether the times contradict `rate`.
        rows: the segments, in order of arrival.
    """

    __slots__ = ("_begin", "_longest", "_measured", "_n", "_seconds", "_t0", "contradicted", "rate", "rows", "true")

    def __init__(self, rate: float) -> None:
        self.rate = self.true = rate
        self.contradicted = False
        self.rows = array("I")
        self._begin = self._t0 = self._seconds = 0.0
        self._n = self._longest = self._measured = 0

    def add(self, row: int, t0: float, n: int, before: int) -> bool:
        """Add a segment; `before` is the length of the one before it. True if the rate has changed."""
        if self.rows and abs((t0 - self._t0) * self.rate / before - 1) < _CONTIGUOUS:
            self._n += before
            if self._n > self._longest:
                self._longest, self._seconds = self._n, t0 - self._begin
        else:  # a gap, or an overlap
            self._n, self._begin = 0, t0
        self._t0 = t0
        self.rows.append(row)
        if self._longest < 2 * self._measured or self._seconds < _MIN_MEASURED:
            return False
        return self._measure()

    def _measure(self) -> bool:
        self._measured, old = self._longest, self.true
        measured = sample_rate(self._seconds / self._longest)
        # A whole rate is no rounded one: segments that overlap by a few samples each contradict it as well.
        self.contradicted = self.rate != round(self.rate) and abs(measured / self.rate - 1) > RATE_TOLERANCE
        self.true = measured if self.contradicted and measured == round(measured) else self.rate
        return self.true != old

    def snapshot(self) -> list[float]:
        """The figures of the measurement, for a checkpoint."""
        return [self.rate, self.true, float(self.contradicted), self._begin, self._t0, self._seconds,
                self._n, self._longest, self._measured]  # fmt: skip

    def copy(self) -> StatedRate:
        """The same, to which other segments can be added."""
        return self.restored(self.snapshot(), self.rows[:])

    @classmethod
    def restored(cls, figures: list[float], rows: array[int]) -> StatedRate:
        """The inverse of `snapshot`."""
        found = cls(figures[0])
        found.true, found.contradicted = figures[1], bool(figures[2])
        found._begin, found._t0, found._seconds = figures[3:6]
        found._n, found._longest, found._measured = map(int, figures[6:9])
        found.rows = rows
        return found
