"""Contiguous strain of one detector, with exact times."""

from __future__ import annotations

import functools
import hashlib
import re
from dataclasses import dataclass, replace
from fractions import Fraction
from math import ceil
from typing import Any

import numpy

from gwclient.errors import NoData

_GAPS_SHOWN = 3  # gaps that an error names one by one


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
        """Strain of a one-dimensional array of numbers, converted to float64 without loss.

        Raises:
            NoData: `data` is not such an array, holds a number that no float64 equals, or `rate` is not positive.
        """
        array = numpy.asarray(data)
        if array.ndim != 1 or array.dtype.kind not in "fiu":
            raise NoData(f"strain is one row of numbers, not {array.dtype} of shape {array.shape}")
        if rate <= 0:
            raise NoData(f"the sample rate must be positive, not {float(rate):g} Hz")
        samples = numpy.ascontiguousarray(array, numpy.float64)
        inexact = numpy.flatnonzero(_inexact(array, samples))
        if len(inexact):
            raise NoData(
                f"sample {inexact[0]} is {array[inexact[0]]}, which no float64 equals: the store holds float64, so "
                f"convert or scale the {array.dtype} samples first"
            )
        return cls(samples, t0, rate, detector, channel)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> numpy.ndarray:
        array: numpy.ndarray = numpy.array(self.samples, dtype=dtype, copy=copy is not False)
        return array

    def __len__(self) -> int:
        return len(self.samples)

    @functools.cached_property
    def valid(self) -> numpy.ndarray | None:
        """A mask of the samples that are finite; None if all are."""
        finite = numpy.isfinite(self.samples)
        return None if finite.all() else finite

    def to_gwpy(self) -> Any:
        """The same as a gwpy `TimeSeries`, without copying the samples.

        Raises:
            ModuleNotFoundError: gwpy is not installed.
        """
        from gwpy.timeseries import TimeSeries

        names = {"name": self.channel or None, "channel": self.channel or None}
        return TimeSeries(self.samples, t0=float(self.t0), sample_rate=float(self.rate), unit="strain", **names)

    def time_of(self, index: int) -> float:
        """GPS time of a sample, rounded once so that no error accumulates."""
        t0, rate = self.t0, self.rate
        count = t0.numerator * rate.numerator + index * rate.denominator * t0.denominator
        return count / (t0.denominator * rate.numerator)

    def around(self, gps: Fraction, before: Fraction, after: Fraction) -> Strain:
        """The samples in [gps - before, gps + after).

        Raises:
            NoData: the strain does not cover that interval.
        """
        first = ceil((gps - before - self.t0) * self.rate)
        last = ceil((gps + after - self.t0) * self.rate)
        if first < 0 or last > len(self.samples) or first >= last:
            begin, end = self.time_of(0), self.time_of(len(self.samples))
            raise NoData(
                f"the strain covers GPS {begin} to {end}, not {float(before):g} s before to {float(after):g} s after "
                f"{float(gps)}"
            )
        return self._slice(first, last)

    def finite_parts(self, skip_gaps: bool = False) -> list[Strain]:
        """The contiguous parts with finite samples: this strain, or with `skip_gaps` what lies between its gaps.

        Raises:
            NoData: no sample is finite, or `skip_gaps` is false and there are gaps (samples that are NaN or infinite).
        """
        if not len(self.samples):
            raise NoData("the source holds no samples")
        if self.valid is None:
            return [self]
        edges = numpy.flatnonzero(numpy.diff(self.valid, prepend=False, append=False))
        spans = [(int(first), int(last)) for first, last in edges.reshape(-1, 2)]
        if not skip_gaps or not spans:
            raise NoData(self._gap_message(spans))
        return [self._slice(first, last) for first, last in spans]

    def _gap_message(self, spans: list[tuple[int, int]]) -> str:
        bounds = [0, *(index for span in spans for index in span), len(self.samples)]
        gaps = [(first, last) for first, last in zip(bounds[::2], bounds[1::2], strict=True) if first < last]
        shown = ", ".join(
            f"between GPS {self.time_of(first)} and {self.time_of(last)}" for first, last in gaps[:_GAPS_SHOWN]
        )
        more = f" and in {len(gaps) - _GAPS_SHOWN} more gaps" if len(gaps) > _GAPS_SHOWN else ""
        missing = sum(last - first for first, last in gaps)
        advice = "; narrow the interval, or send the rest with --gaps skip" if spans else ""
        return (
            f"{self.detector or 'the detector'} was not observing {shown}{more} ({missing} of {len(self.samples)} "
            f"samples missing){advice}"
        )

    def _slice(self, first: int, last: int) -> Strain:
        return replace(self, samples=self.samples[first:last], t0=self.t0 + first / self.rate)

    def digest(self) -> str:
        """SHA-256 of samples, times and names in hex; equal for equal strain from different sources."""
        digest = hashlib.sha256(self.samples.tobytes())
        digest.update(repr((self.t0, self.rate, self.detector, self.channel)).encode())
        return digest.hexdigest()


def detector_of(channel: str) -> str:
    """The detector in front of the colon of a channel's name ("L1" of "L1:STRAIN"), or ""."""
    found = re.match(r"([A-Z]\d):", channel)
    return found[1] if found else ""


def finite(value: object) -> Fraction:
    """A number of a file, such as a time in seconds, exactly.

    Raises:
        NoData: it is not a finite number.
    """
    try:
        return Fraction(float(value))  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        raise NoData(f"{value!r} is not a finite number") from None


def _inexact(array: numpy.ndarray, samples: numpy.ndarray) -> Any:
    """A mask of the samples that float64 changes: some integers beyond 2^53 and some longer floats, but not NaN."""
    if array.dtype.kind == "f":
        if array.dtype.itemsize <= 8:
            return numpy.zeros(0, bool)
        return (samples != array) & ~numpy.isnan(array)
    bits = int(numpy.iinfo(array.dtype).bits)
    if bits <= 53:
        return numpy.zeros(0, bool)
    # Converting back overflows where rounding has reached 2^63 or 2^64, which no integer of the type equals.
    limit = 2.0 ** (bits - (array.dtype.kind == "i"))
    back = numpy.where(samples < limit, samples, 0.0).astype(array.dtype)
    return (back != array) | (samples >= limit)
