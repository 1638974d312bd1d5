"""How much strain there is: the stretches of time that segments cover, kept up as they arrive in any order."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable
from dataclasses import dataclass, field

Stream = tuple[str, str]
"""Detector and channel; time is contiguous only within one stream."""

Stretch = tuple[str, str, float, float]
"""Detector, channel, and GPS seconds: the first, and the one behind the last."""


@dataclass(slots=True)
class _Stretches:
    """Disjoint intervals of GPS time in ascending order: `starts[i]` to `ends[i]`, seconds."""

    starts: list[float] = field(default_factory=list)
    ends: list[float] = field(default_factory=list)


class Coverage:
    """The union of the segments' times, per stream. A time that is sent twice counts once.

    Attributes:
        seconds: of strain, over all streams.
        longest: stretch without a gap, seconds.
    """

    def __init__(self) -> None:
        self._streams: dict[Stream, _Stretches] = {}
        self.seconds = 0.0
        self.longest = 0.0

    def stretches(self) -> list[Stretch]:
        """All that is covered, ascending within a stream."""
        return [
            (*stream, *times) for stream, s in self._streams.items() for times in zip(s.starts, s.ends, strict=True)
        ]

    @classmethod
    def of(cls, stretches: Iterable[Stretch]) -> Coverage:
        """What `stretches` came from."""
        coverage = cls()
        for detector, channel, start, end in stretches:
            s = coverage._streams.setdefault((detector, channel), _Stretches())
            s.starts.append(start)
            s.ends.append(end)
            coverage.seconds += end - start
            coverage.longest = max(coverage.longest, end - start)
        return coverage

    def add(self, stream: Stream, t0: float, dt: float, n: int) -> None:
        """Take in a segment of `n` samples from GPS time `t0` on, `dt` seconds apart.

        It covers n * dt: up to where its successor's first sample belongs. A hole of up to half a sample is
        rounding, not a gap (a double holds GPS time to about 0.1 µs).
        """
        start, end, slack = t0, t0 + n * dt, dt / 2
        s = self._streams.setdefault(stream, _Stretches())
        first = bisect_left(s.ends, start - slack)
        last = bisect_right(s.starts, end + slack)
        if first < last:
            start, end = min(start, s.starts[first]), max(end, s.ends[last - 1])
            self.seconds -= sum(s.ends[i] - s.starts[i] for i in range(first, last))
        s.starts[first:last] = [start]
        s.ends[first:last] = [end]
        self.seconds += end - start
        self.longest = max(self.longest, end - start)
