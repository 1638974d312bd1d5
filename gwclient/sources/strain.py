"""Contiguous strain of one detector, with exact times."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, replace
from fractions import Fraction
from math import ceil

import numpy

from gwclient.errors import NoData

RATE_TOLERANCE = Fraction(1, 10**6)  # relative: within it a sample rate is the whole number that is meant


@dataclass(frozen=True)
class Strain:
    """Contiguous strain of one detector.

    Attributes:
        samples: float64, dimensionless.
        t0: GPS time of the first sample, seconds.
        rate: samples per second.
        detector: such as "L1", or empty.
        channel: such as "L1:GWOSC-4KHZ_R1_STRAIN", or empty.
    """

    samples: numpy.ndarray
    t0: Fraction
    rate: Fraction
    detector: str
    channel: str

    @classmethod
    def of(cls, data: object, t0: Fraction, rate: Fraction, detector: str, channel: str) -> Strain:
        """Strain of a one-dimensional array of numbers, widened to float64.

        Raises:
            NoData: `data` is not such an array.
        """
        samples = numpy.asarray(data)
        if samples.ndim != 1 or samples.dtype.kind not in "fiu":
            raise NoData(f"strain is one row of numbers, not {samples.dtype} of shape {samples.shape}")
        return cls(samples.astype(numpy.float64), t0, rate, detector, channel)

    def time_of(self, index: int) -> float:
        """GPS time of a sample, rounded once so that no error accumulates."""
        return float(self.t0 + index / self.rate)

    def around(self, gps: Fraction, before: float, after: float) -> Strain:
        """The samples in [gps - before, gps + after).

        Raises:
            NoData: the strain does not cover that interval.
        """
        first = ceil((gps - Fraction(before) - self.t0) * self.rate)
        last = ceil((gps + Fraction(after) - self.t0) * self.rate)
        if first < 0 or last > len(self.samples) or first >= last:
            begin, end = self.time_of(0), self.time_of(len(self.samples))
            raise NoData(
                f"the strain covers GPS {begin} to {end}, not {before} s before to {after} s after {float(gps)}"
            )
        return replace(self, samples=self.samples[first:last], t0=self.t0 + first / self.rate)

    def checked(self) -> Strain:
        """This strain, if it has samples and all of them are finite.

        Raises:
            NoData: there are no samples, or the detector was not observing all the time (such samples are NaN).
        """
        if not len(self.samples):
            raise NoData("the source holds no samples")
        bad = numpy.flatnonzero(~numpy.isfinite(self.samples))
        if len(bad):
            raise NoData(
                f"{self.detector or 'the detector'} was not observing between GPS {self.time_of(int(bad[0]))} and "
                f"{self.time_of(int(bad[-1]) + 1)} ({len(bad)} samples missing); narrow the interval"
            )
        return self

    def digest(self) -> str:
        """SHA-256 of samples, times and names in hex; equal for equal strain from different sources."""
        digest = hashlib.sha256(self.samples.tobytes())
        digest.update(repr((self.t0, self.rate, self.detector, self.channel)).encode())
        return digest.hexdigest()


def rate_of(interval: Fraction) -> Fraction:
    """Samples per second of a sampling interval in seconds, made whole if it is within RATE_TOLERANCE of that."""
    exact = 1 / interval
    whole = round(exact)
    return Fraction(whole) if whole and abs(exact - whole) <= exact * RATE_TOLERANCE else exact


def detector_of(channel: str) -> str:
    """The detector in front of the colon of a channel's name ("L1" of "L1:STRAIN"), or ""."""
    found = re.match(r"([A-Z]\d):", channel)
    return found[1] if found else ""
