"""Peaks of a Q-transform, and which of them are events of their own."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable
from typing import NamedTuple


class Peak(NamedTuple):
    """A peak: GPS time, normalised energy, and frequency in Hz."""

    gps: float
    energy: float
    frequency: float


def separated(found: Iterable[Peak], least: float) -> list[Peak]:
    """Of peaks nearer to each other than `least` seconds the loudest; in order of time."""
    kept: list[Peak] = []
    times: list[float] = []
    for peak in sorted(found, key=lambda peak: (-peak.energy, peak.gps)):
        at = bisect_left(times, peak.gps)
        if all(abs(peak.gps - near) >= least for near in times[max(at - 1, 0) : at + 1]):
            times.insert(at, peak.gps)
            kept.append(peak)
    return sorted(kept)
