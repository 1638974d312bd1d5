"""Strain from text: a column of strain under GWOSC's header, or GPS times and strain in two columns."""

from __future__ import annotations

import re
from fractions import Fraction
from pathlib import Path

import numpy

from gwclient.errors import NoData
from gwclient.sources.strain import Strain, rate_of


def read(path: Path, detector: str, channel: str, t0: str, rate: str) -> Strain:
    """Read one column (strain) or two (GPS time and strain); `t0` and `rate` override those in the file.

    Raises:
        NoData: the text is not such a table, its times are not evenly spaced, or the times are missing.
    """
    try:
        with path.open() as file:
            head = "".join(line for _, line in zip(range(10), file, strict=False) if line.startswith("#"))
        columns = numpy.loadtxt(path, delimiter="," if path.suffix.lower() == ".csv" else None, ndmin=2)
    except (OSError, ValueError) as error:
        raise NoData(f"{path}: {error}") from None
    if columns.shape[1] == 2 and len(columns) > 1:
        times, samples = columns[:, 0], numpy.ascontiguousarray(columns[:, 1])
        interval = (times[-1] - times[0]) / (len(times) - 1)
        if interval <= 0 or abs(numpy.diff(times) - interval).max() > interval / 2:
            raise NoData(f"{path}: the times in the first column are not evenly spaced")
        start = Fraction(t0) if t0 else Fraction(float(times[0]))
        return Strain.of(samples, start, rate_of(1 / Fraction(rate) if rate else Fraction(interval)), detector, channel)
    t0 = t0 or _first_group(r"starting GPS (\d+)", head)
    rate = rate or _first_group(r"has (\d+) samples per second", head)
    if columns.shape[1] != 1 or not t0 or not rate:
        raise NoData(f"{path}: one column of strain needs --t0 and --sample-rate; otherwise GPS time and strain")
    return Strain.of(columns[:, 0], Fraction(t0), rate_of(1 / Fraction(rate)), detector, channel)


def _first_group(pattern: str, text: str) -> str:
    found = re.search(pattern, text)
    return found[1] if found else ""
