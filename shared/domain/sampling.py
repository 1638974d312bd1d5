"""Sampling: rates and GPS times that can be, and names of detectors and channels."""

from __future__ import annotations

import functools
import re
from fractions import Fraction

RATE_TOLERANCE = 1e-6  # relative; clients print intervals with six digits or more
GRID_TOLERANCE = 0.25  # samples by which a segment may miss its stretch's grid
MAX_INTERVAL = 64.0  # seconds; no channel is sampled less than once a minute
MIN_INTERVAL = 1e-9  # seconds; GPS times of the field's tools have nanoseconds
MAX_GPS = 2.0**31  # seconds; LIGOTimeGPS cannot hold later times
MAX_NAME = 256  # characters of a channel or detector
_MAX_DENOMINATOR = 1_000_000
_GPS_EPOCH = 315964800  # 1980-01-06 in seconds since 1970
_LEAP_SECONDS = 18  # between GPS and UTC, since 2017

_DETECTOR = re.compile(r"[A-Z][A-Za-z0-9]{0,15}")
_PREFIX = re.compile(r"([A-Z][0-9]):")


def sample_rate(dt: float) -> float:
    """Samples per second for a sampling interval in seconds, a whole number where the interval allows it."""
    rate = 1 / dt
    whole = round(rate)
    return float(whole) if whole and abs(rate - whole) <= RATE_TOLERANCE * rate else rate


def exact_rate(rate: float) -> Fraction:
    """A sampling rate as the simple fraction that the double stands for, as 10/3 for 3.3333333333333335 Hz."""
    exact = Fraction(rate)
    simple = exact.limit_denominator(_MAX_DENOMINATOR)
    return simple if float(simple) == rate else exact


def gps_from_unix(seconds: float) -> float:
    """GPS time of a Unix time, both in seconds."""
    return seconds - _GPS_EPOCH + _LEAP_SECONDS


@functools.lru_cache(4096)
def detector_of(detector: str, channel: str) -> str:
    """The detector of a channel: as named, or the prefix of the channel's name, such as V1 in V1:Hrec_hoft_16384Hz.

    Raises:
        ValueError: a name cannot be one, or the two contradict each other; the text says which.
    """
    if detector and not _DETECTOR.fullmatch(detector):
        raise ValueError(f"`detector` is {detector!r}: must be a name such as V1")
    if channel and (not channel.isprintable() or " " in channel):
        raise ValueError(f"`channel` is {channel!r}: must be a name such as V1:Hrec_hoft_16384Hz, without spaces")
    prefix = prefix_of(channel)
    if detector and prefix and detector != prefix:
        raise ValueError(f"`channel` {channel} belongs to {prefix}, `detector` says {detector}: leave one out")
    return detector or prefix


def prefix_of(channel: str) -> str:
    """The detector that a channel's name begins with; empty if it names none."""
    return found[1] if (found := _PREFIX.match(channel)) else ""
