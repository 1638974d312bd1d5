"""Strain from GWF frame files, through gwpy and a reader that the user has installed."""

from __future__ import annotations

from pathlib import Path

from gwclient.errors import NoData
from gwclient.grid import rate_of
from gwclient.sources.strain import Strain, detector_of, finite


def read(path: Path, detector: str, channel: str) -> Strain:
    """Read one channel.

    Raises:
        NoData: no channel is given, the reader is missing, or it fails.
    """
    if not channel:
        raise NoData(f"{path}: a GWF file needs --channel")
    try:
        from gwpy.timeseries import TimeSeries
    except ImportError:
        raise NoData(
            f"{path}: GWF needs gwpy and a reader: pip install '.[preproc]' lalsuite in a checkout of the project"
        ) from None
    try:
        series = TimeSeries.read(str(path), channel)
    except Exception as error:  # gwpy passes on whatever its readers raise
        raise NoData(f"{path}: {error}") from None
    t0, interval = finite(series.x0.to_value("s")), finite(series.dx.to_value("s"))
    return Strain.of(series.value, t0, rate_of(interval), detector or detector_of(channel), channel)
