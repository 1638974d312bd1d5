"""Strain from GWF frame files: by the own reader, or through gwpy and a reader that the user has installed."""

from __future__ import annotations

import fnmatch
from fractions import Fraction
from pathlib import Path

from gwclient.errors import NoData
from gwclient.grid import rate_of
from gwclient.sources import frames
from gwclient.sources.strain import Strain, detector_of, finite


def read(path: Path, detector: str, channel: str) -> Strain:
    """Read one channel.

    Raises:
        NoData: no channel is given, the file is damaged, or it needs a reader that is missing or fails.
    """
    if not channel:
        raise NoData(f"{path}: a GWF file needs --channel")
    samples: object
    try:
        samples, t0, interval = frames.read(path, channel)
    except frames.Unsupported as error:
        samples, t0, interval = _by_gwpy(path, channel, str(error))
    return Strain.of(samples, t0, rate_of(interval), detector or detector_of(channel), channel)


def read_all(path: Path, detector: str, pattern: str) -> list[Strain]:
    """Read every channel whose name matches a pattern of `*`, `?` and `[...]`, by name.

    Raises:
        NoData: as `read`, or the frames need another reader, which is asked for one channel at a time.
    """

    def wanted(name: str) -> bool:
        return fnmatch.fnmatchcase(name, pattern) and detector in ("", detector_of(name))

    try:
        found = frames.read_all(path, wanted, repr(pattern))
    except frames.Unsupported as error:
        raise NoData(f"{path} has {error}: name its channels one at a time") from None
    return [
        Strain.of(samples, t0, rate_of(interval), detector_of(name), name)
        for name, (samples, t0, interval) in sorted(found.items())
    ]


def _by_gwpy(path: Path, channel: str, reason: str) -> tuple[object, Fraction, Fraction]:
    try:
        from gwpy.timeseries import TimeSeries
    except ImportError:
        raise NoData(
            f"{path} has {reason}. They need gwpy and a reader: pip install '.[preproc]' lalsuite in a checkout"
        ) from None
    try:
        series = TimeSeries.read(str(path), channel)
    except Exception as error:  # gwpy passes on whatever its readers raise
        raise NoData(f"{path}: {error}") from None
    return series.value, finite(series.x0.to_value("s")), finite(series.dx.to_value("s"))
