"""Q-transforms, peaks of energy, and trigger tables, all by gwpy, which is GPL-3 and loaded by the job only."""

from __future__ import annotations

import os
import tempfile
from array import array
from importlib.metadata import version
from math import floor, isfinite, log2
from typing import Any

import numpy
from gwpy.table import EventTable
from gwpy.timeseries import TimeSeries

from shared.datasets.peaks import Peak
from shared.datasets.request import Peaks, Table, Transform
from shared.errors import BadRequest

MIN_DURATION = 2.0  # seconds of contiguous strain below which peaks are not looked for
MAX_DURATION = 64.0  # seconds transformed at once
SPOILT = 1.0  # seconds at either end that whitening spoils: half of gwpy's filter
_TRES = 1 / 128  # seconds between two columns in which peaks are looked for
_ROWS = 128
_TIME_COLUMNS = ("time", "gps", "GPStime", "gps_time", "event_time", "peak_time", "tc", "end_time", "peakGPS")


def energy(samples: array[float], rate: float, transform: Transform) -> Any:
    """The Q-transform of a window.

    Args:
        samples: float64.
        rate: samples per second.
        transform: the parameters.

    Returns:
        float32, frequency by time: energy of one Q plane, normalised to a median of one in every row
        (Chatterji et al. 2004, doi:10.1088/0264-9381/21/20/024).

    Raises:
        Exception: whatever gwpy raises, for instance FloatingPointError for a channel that is zero throughout.
    """
    strain = TimeSeries(numpy.frombuffer(samples), t0=0, sample_rate=rate)
    duration = len(samples) / rate
    rows, columns = transform.shape
    if transform.whiten:
        length = min(2.0, 2.0 ** floor(log2(duration / 4)))
        strain = strain.whiten(fftlength=length, overlap=length / 2, fduration=length)
    else:
        strain = strain.bandpass(*transform.frange)
    found = strain.q_transform(
        qrange=(transform.q, transform.q), frange=transform.frange, whiten=False, logf=True, fres=rows,
        tres=duration / columns, outseg=(0, duration),
    )  # fmt: skip
    pixels = found.value[:columns].T.astype("float32")
    if pixels.shape != (rows, columns) or not numpy.isfinite(pixels).all():
        raise FloatingPointError("the Q-transform is not finite")
    return pixels


def loud(samples: array[float], t0: float, rate: float, peaks: Peaks) -> list[Peak]:
    """The local maxima in time of the energy of whitened strain, apart from its ends, which whitening spoils.

    Args:
        samples: contiguous strain, float64, at least MIN_DURATION seconds of it.
        t0: GPS time of the first sample, seconds.
        rate: samples per second.
        peaks: the parameters.

    Raises:
        Exception: as `energy`.
    """
    duration = len(samples) / rate
    length = min(2.0, 2.0 ** floor(log2(duration / 4)))
    strain = TimeSeries(numpy.frombuffer(samples), t0=0, sample_rate=rate)
    found = strain.q_transform(
        qrange=(peaks.q, peaks.q), frange=peaks.frange, logf=True, fres=_ROWS, tres=_TRES,
        fftlength=length, overlap=length / 2, fduration=length, outseg=(length / 2, duration - length / 2),
    )  # fmt: skip
    loudest = found.value.max(axis=1)
    if not numpy.isfinite(loudest).all():
        raise FloatingPointError("the Q-transform is not finite")
    around = numpy.concatenate(([-1.0], loudest, [-1.0]))
    maxima = (loudest >= peaks.threshold) & (loudest >= around[:-2]) & (loudest > around[2:])
    return [
        Peak(
            t0 + float(found.times.value[column]),
            float(loudest[column]),
            float(found.frequencies.value[found.value[column].argmax()]),
        )
        for column in numpy.flatnonzero(maxima)
    ]


def times(table: Table) -> list[float]:
    """The GPS times in a trigger table, in order.

    Raises:
        BadRequest: the table cannot be read, or has no such column.
    """
    fd, path = tempfile.mkstemp()
    try:
        with os.fdopen(fd, "w") as file:
            file.write(table.content)
        read = EventTable.read(path, format=table.format)
    except (OSError, MemoryError):
        raise
    except Exception as error:
        text = f"{type(error).__name__}: {error}".replace(path, "the table")
        raise BadRequest(f"`events.table` cannot be read as {table.format}: {text[:300]}") from None
    finally:
        os.unlink(path)
    column = table.column or next((name for name in _TIME_COLUMNS if name in read.colnames), "")
    if column not in read.colnames:
        raise BadRequest(
            f"`events.table.column` must name the column of GPS times, one of {', '.join(read.colnames[:30])}"
        )
    seconds = read[column]
    parts = read[f"{column}_ns"] if f"{column}_ns" in read.colnames else [0] * len(seconds)
    try:
        found = sorted({float(second) + float(ns) / 1e9 for second, ns in zip(seconds, parts, strict=True)})
    except (TypeError, ValueError):
        raise BadRequest(f"`events.table`: {column} holds something else than GPS seconds") from None
    if not all(isfinite(gps) and gps >= 0 for gps in found):
        raise BadRequest(f"`events.table`: {column} holds something else than GPS seconds")
    return found


def versions() -> dict[str, str]:
    """The versions of what the numbers depend on."""
    return {name: version(name) for name in ("gwpy", "scipy", "astropy")}
