"""How much strain there is: the stretches of time that segments cover, kept up as they arrive in any order."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable
from dataclasses import dataclass, field

Stream = tuple[str, str]
"""Detector and channel; time is contiguous only within one stream."""

Span = tuple[str, str, float, float]
"""Detector, channel, and GPS seconds: the first, and the one behind the last."""


@dataclass(slots=True)
class _Spans:
    """Disjoint intervals of GPS time in ascending order: `starts[i]` to `ends[i]`, seconds."""

    starts: list[float] = field(default_factory=list)
    ends: list[float] = field(default_factory=list)


class Livetime:
    """The union of the segments' times, per stream. A time that is sent twice counts once.

    Attributes:
        seconds: of strain, over all streams.
        longest: stretch without a gap, seconds.
    """

    def __init__(self) -> None:
        self._streams: dict[Stream, _Spans] = {}
        self.total = 0.0
        self.longest_span = 0.0

    def spans(self) -> list[Span]:
        """All that is covered, ascending within a stream."""
        return [
            (*stream, *times) for stream, s in self._streams.items() for times in zip(s.starts, s.ends, strict=True)
        ]

    @classmethod
    def from_spans(cls, stretches: Iterable[Span]) -> Livetime:
        """What `stretches` came from."""
        coverage = cls()
        for detector, channel, start, end in stretches:
            s = coverage._streams.setdefault((detector, channel), _Spans())
            s.starts.append(start)
            s.ends.append(end)
            coverage.total += end - start
            coverage.longest_span = max(coverage.longest_span, end - start)
        return coverage

    def add(self, stream: Stream, t0: float, dt: float, n: int) -> None:
        """Take in a segment of `n` samples from GPS time `t0` on, `dt` seconds apart.

        It covers n * dt: up to where its successor's first sample belongs. A hole of up to half a sample is
        rounding, not a gap (a double holds GPS time to about 0.1 µs).
        """
        start, end, slack = t0, t0 + n * dt, dt / 2
        s = self._streams.setdefault(stream, _Spans())
        first = bisect_left(s.ends, start - slack)
        last = bisect_right(s.starts, end + slack)
        if first < last:
            start, end = min(start, s.starts[first]), max(end, s.ends[last - 1])
            self.total -= sum(s.ends[i] - s.starts[i] for i in range(first, last))
        s.starts[first:last] = [start]
        s.ends[first:last] = [end]
        self.total += end - start
        self.longest_span = max(self.longest_span, end - start)
