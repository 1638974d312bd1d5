"""Livetime: the spans of GPS time that segments cover, kept up as they arrive in any order."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable
from dataclasses import dataclass, field

from shared.domain.sampling import GRID_TOLERANCE, MIN_INTERVAL, sample_rate

Stream = tuple[str, str, float]
"""Detector, channel and samples per second. Time is contiguous only within one stream."""

Span = tuple[str, str, float, float, float]
"""Detector, channel, samples per second, begin and end in GPS seconds; the end is not part of the span."""


@dataclass(slots=True)
class _Spans:
    """Disjoint intervals of GPS time in ascending order: `starts[i]` to `ends[i]`, seconds."""

    starts: list[float] = field(default_factory=list)
    ends: list[float] = field(default_factory=list)


class Livetime:
    """The union of the segments' spans, per stream. A time that is sent twice counts once.

    Attributes:
        total: seconds of strain, over all streams.
        longest_span: seconds of the longest span without a gap.
    """

    def __init__(self) -> None:
        self._streams: dict[Stream, _Spans] = {}
        self.total = 0.0
        self.longest_span = 0.0

    @property
    def channels(self) -> int:
        """How many channels there are, whatever their sampling rates."""
        return len({stream[:2] for stream in self._streams})

    def spans(self) -> list[Span]:
        """All spans, ascending within a stream."""
        return [
            (*stream, *times) for stream, s in self._streams.items() for times in zip(s.starts, s.ends, strict=True)
        ]

    @classmethod
    def from_spans(cls, spans: Iterable[Span]) -> Livetime:
        """The livetime made of these spans."""
        livetime = cls()
        for detector, channel, rate, start, end in spans:
            s = livetime._streams.setdefault((detector, channel, rate), _Spans())
            s.starts.append(start)
            s.ends.append(end)
            livetime.total += end - start
            livetime.longest_span = max(livetime.longest_span, end - start)
        return livetime

    def add(self, detector: str, channel: str, t0: float, dt: float, n: int) -> None:
        """Add a segment of `n` samples from GPS time `t0` on, `dt` seconds apart.

        Its span is n * dt long, up to the first sample of its successor. A hole of up to a quarter of a sample is
        rounding, not a gap (a double holds GPS time to about 0.1 µs). Without a usable interval it adds nothing.
        """
        if dt < MIN_INTERVAL:
            return
        rate = sample_rate(dt)
        start, end, slack = t0, t0 + n / rate, GRID_TOLERANCE / rate
        s = self._streams.setdefault((detector, channel, rate), _Spans())
        first = bisect_left(s.ends, start - slack)
        last = bisect_right(s.starts, end + slack)
        if first < last:
            start, end = min(start, s.starts[first]), max(end, s.ends[last - 1])
            self.total -= sum(s.ends[i] - s.starts[i] for i in range(first, last))
        s.starts[first:last] = [start]
        s.ends[first:last] = [end]
        self.total += end - start
        self.longest_span = max(self.longest_span, end - start)
