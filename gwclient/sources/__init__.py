"""Sources of strain: open data of an event, files, and the sample in gwpy's wheel. All give exact float64 samples."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

from gwclient.errors import NoData
from gwclient.sources import gwf, hdf5, text
from gwclient.sources.gwosc import GWOSC, from_event
from gwclient.sources.hdf5 import from_sample
from gwclient.sources.strain import Strain

__all__ = ["GWOSC", "SEVERAL", "Strain", "from_event", "from_file", "from_sample", "several_from_file"]

_HDF5 = (".hdf5", ".hdf", ".h5")
SEVERAL = (*_HDF5, ".gwf")
"""Suffixes of files from which several channels are read."""


def from_file(
    path: Path, detector: str = "", channel: str = "", t0: Fraction | None = None, rate: Fraction | None = None
) -> Strain:
    """Read strain from a file in the format of its suffix: HDF5 (.hdf5 .hdf .h5), GWF (.gwf), otherwise text.

    Args:
        path: the file.
        detector: selects one of several, or names that of a file without names.
        channel: likewise; required for GWF.
        t0: GPS time of the first sample, for text without times.
        rate: samples per second, for text without times.

    Raises:
        NoData: the file cannot be read, or holds no such strain.
    """
    if not path.is_file():
        raise NoData(f"{path}: no such file")
    suffix = path.suffix.lower()
    if suffix in _HDF5:
        return hdf5.read(path, detector, channel)
    if suffix == ".gwf":
        return gwf.read(path, detector, channel)
    return text.read(path, detector, channel, t0, rate)


def several_from_file(path: Path, detector: str, pattern: str, spare: Sequence[Strain] = ()) -> list[Strain]:
    """Read the channels of an HDF5 or GWF file that match a pattern of `*`, `?` and `[...]`, by name.

    Args:
        path: the file.
        detector: that of the channels, or empty for all.
        pattern: of their names.
        spare: as for `hdf5.read_all`.

    Raises:
        NoData: the file cannot be read, or holds none of them.
    """
    if not path.is_file():
        raise NoData(f"{path}: no such file")
    suffix = path.suffix.lower()
    if suffix not in SEVERAL:
        raise NoData(f"{path}: several channels are read from HDF5 and GWF only")
    if suffix == ".gwf":
        return gwf.read_all(path, detector, pattern)
    return hdf5.read_all(path, detector, pattern, spare)
