"""Strain from text: a column of strain under GWOSC's header, or GPS times and strain in two columns."""

from __future__ import annotations

import re
from fractions import Fraction
from itertools import islice
from math import ceil, floor
from pathlib import Path
from typing import NamedTuple

import numpy

from gwclient.errors import NoData
from gwclient.grid import rate_of
from gwclient.sources.strain import Strain

_HEAD = 1000  # lines looked at for comments, a header and the digits of the times
_MAX_RATE = 1e9  # samples per second
_AMBIGUOUS = 1.02  # rates of such a ratio may be as different as 1000 and 1024 Hz


def read(path: Path, detector: str, channel: str, t0: Fraction | None, rate: Fraction | None) -> Strain:
    """Read one column (strain) or two (GPS time and strain); `t0` and `rate` override those in the file.

    Raises:
        NoData: the text is not such a table, its times are not evenly spaced, or the times are missing.
    """
    try:
        head = _read_head(path)
        columns = numpy.loadtxt(path, delimiter=head.delimiter, skiprows=head.skip, ndmin=2)
    except (OSError, ValueError) as error:
        raise NoData(f"{path}: {error}; one column of strain, or GPS time and strain, are expected") from None
    try:
        return _strain(columns, head, detector=detector, channel=channel, t0=t0, rate=rate)
    except NoData as error:
        raise NoData(f"{path}: {error}") from None


class _Head(NamedTuple):
    comments: str
    skip: int  # lines before the first row of numbers
    delimiter: str | None
    decimals: int  # digits after the point in the first column


def _read_head(path: Path) -> _Head:
    """Comments, the line of column names if there is one, and the form of the first column."""
    comments: list[str] = []
    rows: list[str] = []
    skip = 0
    with path.open() as file:
        for number, line in enumerate(islice(file, _HEAD)):
            if line.startswith("#"):
                comments.append(line)
            elif line.strip() and not rows and not skip and not any(map(_is_number, _fields(line))):
                skip = number + 1
            elif line.strip():
                rows.append(line)
    if not rows:
        raise ValueError(f"no numbers in the first {_HEAD} lines")
    decimals = max(_decimals(_fields(line)[0]) for line in rows)
    return _Head("".join(comments), skip, "," if "," in rows[0] else None, decimals)


def _strain(
    columns: numpy.ndarray, head: _Head, *, detector: str, channel: str, t0: Fraction | None, rate: Fraction | None
) -> Strain:
    if columns.shape[1] == 2 and len(columns) > 1:
        times, samples = columns[:, 0], numpy.ascontiguousarray(columns[:, 1])
        if not numpy.isfinite(times).all():
            raise NoData("the first column holds times that are no numbers")
        start, rate = _grid(times, head.decimals, rate)
        return Strain.of(samples, start if t0 is None else t0, rate, detector, channel)
    t0 = _number(r"starting GPS (\d+)", head.comments) if t0 is None else t0
    rate = rate or _number(r"has (\d+) samples per second", head.comments)
    if columns.shape[1] != 1 or t0 is None or not rate:
        raise NoData("one column of strain needs --t0 and --sample-rate; otherwise GPS time and strain in two columns")
    return Strain.of(columns[:, 0], t0, rate, detector, channel)


def _grid(times: numpy.ndarray, decimals: int, rate: Fraction | None) -> tuple[Fraction, Fraction]:
    """The start and the rate of the sample grid that times with so many decimals were rounded from.

    A rounded time is off by up to half a digit. The start moves onto a multiple of 1/rate within that.

    Args:
        times: GPS seconds, two or more.
        decimals: digits after the point in the text.
        rate: samples per second, if it is known.

    Raises:
        NoData: the rate is ambiguous, or a time is more than a quarter of a sample off the grid.
    """
    offsets = times - times[0]
    if offsets[-1] <= 0:
        raise NoData("the times in the first column do not increase")
    spacing = 2 * float(numpy.spacing(numpy.abs(times).max()))  # of float64, at either end of a difference
    if spacing < 0.1**decimals:  # then the difference is known to all its digits
        offsets = numpy.round(offsets, decimals)
        spacing = 2 * float(numpy.spacing(offsets[-1]))
    error = 10.0**-decimals + spacing
    rate = rate or _rate(offsets, spacing, error)
    if _deviation(offsets, rate) > 0.25 / rate:
        raise NoData(f"the times in the first column are not evenly spaced at {float(rate):g} Hz")
    start = Fraction(float(times[0]))
    on_grid = Fraction(round(start * rate)) / rate
    return on_grid if abs(on_grid - start) <= error / 2 else start, rate


def _rate(offsets: numpy.ndarray, spacing: float, error: float) -> Fraction:
    """The rate of rounded times: the whole number or the power of two that they are consistent with, else their mean.

    Raises:
        NoData: the times are consistent with several whole numbers.
    """
    mean = rate_of(Fraction(float(offsets[-1])) / (len(offsets) - 1))
    index, later = numpy.arange(1, len(offsets)), offsets[1:]
    lower = float((index / (later + error)).max())
    upper = float((index / (later - error))[later > error].min(initial=_MAX_RATE))
    if upper < _AMBIGUOUS * lower:
        if mean.denominator == 1 and _deviation(offsets, mean) <= spacing:
            return mean
        power = Fraction(1 << max(0, ceil(lower) - 1).bit_length())
        if lower <= power <= upper:
            return power
    if floor(upper) > ceil(lower):
        raise NoData(
            f"the times in the first column fit any rate from {lower:g} to {upper:g} Hz; choose with --sample-rate"
        )
    return Fraction(floor(upper)) if ceil(lower) == floor(upper) else mean


def _deviation(offsets: numpy.ndarray, rate: Fraction) -> float:
    return float(numpy.abs(offsets - numpy.arange(len(offsets)) / float(rate)).max())


def _fields(line: str) -> list[str]:
    return line.replace(",", " ").split() or [""]


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _decimals(number: str) -> int:
    mantissa, _, exponent = number.lower().partition("e")
    digits = len(mantissa.partition(".")[2])
    return max(0, digits - int(exponent)) if exponent.lstrip("+-").isdecimal() else digits


def _number(pattern: str, text: str) -> Fraction | None:
    found = re.search(pattern, text)
    return Fraction(found[1]) if found else None
