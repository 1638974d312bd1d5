"""Sample grids: whole rates, and the spans and gaps of segments that lie on a grid in any order."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fractions import Fraction

from gwclient.errors import NoData

RATE_TOLERANCE = Fraction(1, 10**6)  # relative: within it a sample rate is the whole number that is meant
GRID_TOLERANCE = Fraction(1, 4)  # of a sample: a time that is farther off the grid begins another span


def rate_of(interval: Fraction) -> Fraction:
    """Samples per second of a sampling interval in seconds, made whole if it is within RATE_TOLERANCE of that.

    Raises:
        NoData: the interval is not positive.
    """
    if interval <= 0:
        raise NoData(f"the sampling interval must be positive, not {float(interval):g} s")
    exact = 1 / interval
    whole = round(exact)
    return Fraction(whole) if whole and abs(exact - whole) <= exact * RATE_TOLERANCE else exact


@dataclass
class Span:
    """Contiguous samples on one grid.

    Attributes:
        begin: GPS time of the first sample, seconds.
        samples: their number.
        rate: samples per second.
    """

    begin: Fraction
    samples: int
    rate: Fraction

    @property
    def end(self) -> Fraction:
        """GPS time behind the last sample, seconds."""
        return self.begin + self.samples / self.rate

    def join(self, t0: Fraction, samples: int) -> bool:
        """Take in a segment that begins within this span or at its end; false if it is not on the grid, or later."""
        index = (t0 - self.begin) * self.rate
        nearest = round(index)
        if abs(index - nearest) > GRID_TOLERANCE or nearest > self.samples:
            return False
        self.samples = max(self.samples, nearest + samples)
        return True


@dataclass
class Channel:
    """The segments of one detector, channel and rate, also in blocks: their spans in order of time, their number."""

    detector: str
    channel: str
    rate: Fraction
    segments: int
    spans: list[Span]

    def gaps(self) -> list[tuple[Fraction, Fraction]]:
        """GPS times of the gaps between the spans: first missing sample, first sample after."""
        slack = GRID_TOLERANCE / self.rate
        found, end = [], self.spans[0].end
        for span in self.spans[1:]:
            if span.begin > end + slack:
                found.append((end, span.begin))
            end = max(end, span.end)
        return found


def channels(entries: Iterable[Mapping[str, object]]) -> tuple[list[Channel], int]:
    """The channels in a store's log, sorted by name; and the number of entries without a usable time."""
    times: dict[tuple[str, str, Fraction], list[tuple[float, int]]] = {}
    unusable = 0
    for entry in entries:
        for detector, t0, dt, samples, names in _runs(entry):
            if not (
                isinstance(t0, int | float) and isinstance(dt, int | float) and isinstance(samples, int) and dt > 0
            ):
                unusable += 1
                continue
            rate = rate_of(Fraction(dt))
            for name in names:
                times.setdefault((detector, name, rate), []).append((t0, samples))
    return [_channel(*key, sorted(found)) for key, found in sorted(times.items())], unusable


def _runs(entry: Mapping[str, object]) -> list[tuple[str, object, object, object, list[str]]]:
    """Detector, t0, dt, number of samples and channels of what an entry holds: of a segment one, of a block many."""
    if isinstance(holds := entry.get("holds"), list):
        return [(detector, t0, dt, n, names) for detector, t0, dt, n, names in holds]
    detector, channel = str(entry.get("detector", "")), str(entry.get("channel", ""))
    return [(detector, entry.get("t0"), entry.get("dt"), entry.get("n"), [channel])]


def _channel(detector: str, channel: str, rate: Fraction, times: list[tuple[float, int]]) -> Channel:
    spans: list[Span] = []
    for t0, samples in times:
        if not spans or not spans[-1].join(Fraction(t0), samples):
            spans.append(Span(Fraction(t0), samples, rate))
    return Channel(detector, channel, rate, len(times), spans)
