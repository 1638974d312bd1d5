"""Strain from HDF5 as GWOSC publishes it and as gwpy writes it, and the sample in gwpy's wheel."""

from __future__ import annotations

import importlib.util
from fractions import Fraction
from pathlib import Path

import h5py

from gwclient.errors import NoData
from gwclient.sources.strain import Strain, detector_of, rate_of

_SAMPLE = "testing/data/HLV-HW100916-968654552-1.hdf"  # below the folder of gwpy


def from_sample(detector: str) -> Strain:
    """One second of real strain of H1, L1 or V1 at 16384 Hz from the wheel of gwpy, which is not imported.

    Raises:
        NoData: gwpy is not installed, or has no sample of this detector.
    """
    spec = importlib.util.find_spec("gwpy")
    if spec is None or not spec.submodule_search_locations:
        raise NoData("--sample reads a file of gwpy, which is not installed: pip install '.[preproc]' in a checkout")
    return read(Path(spec.submodule_search_locations[0]) / _SAMPLE, detector)


def read(path: Path, detector: str = "", channel: str = "") -> Strain:
    """Read `strain/Strain` (GWOSC), or a dataset with the attributes `x0` and `dx` (gwpy).

    Raises:
        NoData: the file is damaged, or holds no such strain, or several and none of them is selected.
    """
    try:
        with h5py.File(path) as file:
            if "strain/Strain" in file:
                return _gwosc(path, file, detector, channel)
            return _gwpy(path, file, detector, channel)
    except (OSError, KeyError) as error:
        raise NoData(f"{path}: not strain as GWOSC or gwpy write it: {error}") from None


def _gwosc(path: Path, file: h5py.File, detector: str, channel: str) -> Strain:
    data = file["strain/Strain"]
    found = _text(file["meta/Detector"][()]) if "meta/Detector" in file else detector
    if detector and found != detector:
        raise NoData(f"{path}: holds strain of {found}, not of {detector}")
    t0, interval = Fraction(float(data.attrs["Xstart"])), Fraction(float(data.attrs["Xspacing"]))
    return Strain.of(data[()], t0, rate_of(interval), found, channel)


def _gwpy(path: Path, file: h5py.File, detector: str, channel: str) -> Strain:
    series: dict[str, h5py.Dataset] = {}
    file.visititems(lambda name, item: series.update({name: item} if "x0" in item.attrs else {}))
    name = _select(path, sorted(series), detector, channel)
    data = series[name]
    t0, interval = Fraction(float(data.attrs["x0"])), Fraction(float(data.attrs["dx"]))
    detector = detector or detector_of(_last(name))
    return Strain.of(data[()], t0, rate_of(interval), detector, channel or name)


def _select(path: Path, names: list[str], detector: str, channel: str) -> str:
    matching = [name for name in names if name == channel] if channel else names
    if detector and not channel:
        matching = [name for name in matching if _last(name).startswith(detector)]
        if not matching and len(names) == 1 and not detector_of(_last(names[0])):
            matching = names
    if len(matching) != 1:
        raise NoData(f"{path}: choose with --detector or --channel among {', '.join(names) or 'nothing'}")
    return matching[0]


def _last(name: str) -> str:
    return name.rsplit("/", 1)[-1]


def _text(value: object) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
