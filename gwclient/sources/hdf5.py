"""Strain from HDF5 in the layouts of GWOSC, gwpy, the digital twin and pycbc, and the sample in gwpy's wheel."""

from __future__ import annotations

import fnmatch
import importlib.util
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import h5py
import numpy

from gwclient.errors import NoData
from gwclient.grid import rate_of
from gwclient.sources.strain import Strain, detector_of, finite

_SAMPLE = "testing/data/HLV-HW100916-968654552-1.hdf"  # below the folder of gwpy

Layout = tuple[str, str, bool]
LAYOUTS: tuple[Layout, ...] = (
    ("x0", "dx", False),  # gwpy
    ("t0", "sample_rate", True),  # the digital twin's pipeline: `<event>/<channel>`
    ("start_time", "delta_t", False),  # pycbc
)
"""The attributes with the first sample's time and with the interval, or the rate (True), in order of preference."""

_TIME_UNITS = {
    **dict.fromkeys(("", "s", "sec", "second", "seconds"), Fraction(1)),
    "ms": Fraction(1, 10**3),
    **dict.fromkeys(("us", "µs", "μs"), Fraction(1, 10**6)),
    "ns": Fraction(1, 10**9),
    "min": Fraction(60),
    "h": Fraction(3600),
    "d": Fraction(86400),
}
_EARLIEST_GPS = 300_000_000  # seconds: 1989, before any detector; smaller times are synthetic


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
    """Read `strain/Strain` (GWOSC), or a dataset with the attributes of one of LAYOUTS.

    Raises:
        NoData: the file is damaged, or holds no such strain, or several and none of them is selected.
    """
    try:
        with h5py.File(path) as file:
            if "strain/Strain" in file:
                return _gwosc(path, file, detector, channel)
            return _attributed(path, file, detector, channel)
    except NoData as error:
        raise NoData(f"{path}: {error}") from None
    except (OSError, KeyError, RuntimeError) as error:
        raise NoData(f"{path}: the file is damaged, or lacks what strain needs: {error}") from None


def read_all(path: Path, detector: str, pattern: str, spare: Sequence[Strain] = ()) -> list[Strain]:
    """Read every dataset whose name, groups left out, matches a pattern of `*`, `?` and `[...]`, by name.

    Args:
        path: the file.
        detector: that of the channels, or empty for all.
        pattern: of their names.
        spare: strain that is not needed any more; it is read over, because fresh memory costs more than reading.

    Raises:
        NoData: as `read`, or no dataset matches, or two of them have one name.
    """
    memory = {strain.channel: strain.samples for strain in spare}
    try:
        with h5py.File(path) as file:
            series = _series(file)
            names = [name for name in sorted(series) if fnmatch.fnmatchcase(_last(name), pattern)]
            names = [name for name in names if detector in ("", detector_of(_last(name)))]
            if not names:
                raise NoData(f"no channel matches {pattern!r}; there are {', '.join(sorted(series)) or 'none'}")
            if len({_last(name) for name in names}) < len(names):
                raise NoData(f"{pattern!r} matches channels of one name in different groups: {', '.join(names)}")
            return [_strain(series[name], _last(name), detector, "", memory.get(_last(name))) for name in names]
    except NoData as error:
        raise NoData(f"{path}: {error}") from None
    except (OSError, KeyError, RuntimeError) as error:
        raise NoData(f"{path}: the file is damaged, or lacks what strain needs: {error}") from None


def _gwosc(path: Path, file: h5py.File, detector: str, channel: str) -> Strain:
    data = file["strain/Strain"]
    found = _text(file["meta/Detector"][()]) if "meta/Detector" in file else detector
    if detector and found != detector:
        raise NoData(f"holds strain of {found}, not of {detector}")
    unit = _seconds_in(data.attrs.get("Xunits", "second"))
    t0, interval = finite(data.attrs["Xstart"]) * unit, finite(data.attrs["Xspacing"]) * unit
    return Strain.of(data[()], t0, rate_of(interval), found, channel)


def _series(file: h5py.File) -> dict[str, tuple[h5py.Dataset, Layout]]:
    """The datasets with the attributes of one of LAYOUTS, by name."""
    series: dict[str, tuple[h5py.Dataset, Layout]] = {}

    def visit(name: str, item: object) -> None:
        if isinstance(item, h5py.Dataset):
            layout = next((layout for layout in LAYOUTS if layout[0] in item.attrs and layout[1] in item.attrs), None)
            if layout:
                series[name] = (item, layout)

    file.visititems(visit)
    return series


def _attributed(path: Path, file: h5py.File, detector: str, channel: str) -> Strain:
    series = _series(file)
    if not series:
        pairs = "; ".join(f"`{start}` and `{step}`" for start, step, _ in LAYOUTS)
        raise NoData(f"there is no strain/Strain (GWOSC), and no dataset has the attributes {pairs}")
    name = _select(sorted(series), detector, channel)
    return _strain(series[name], _last(name), detector, channel)


def _strain(
    found: tuple[h5py.Dataset, Layout], label: str, detector: str, channel: str, memory: numpy.ndarray | None = None
) -> Strain:
    data, (start, step, is_rate) = found
    unit = _seconds_in(data.attrs.get("xunit", "s"))
    first, spacing = finite(data.attrs[start]), finite(data.attrs[step])
    if unit != 1 and first * unit < _EARLIEST_GPS <= first:
        raise NoData(
            f"{start} = {float(first):g} {_text(data.attrs['xunit'])} looks like a GPS time in seconds. gwpy takes t0 "
            "to be in the unit of dt: write the file with dt in seconds"
        )
    if is_rate and spacing <= 0:
        raise NoData(f"{step} must be positive, not {float(spacing):g}")
    interval = 1 / spacing if is_rate else spacing * unit
    if memory is not None and data.shape == memory.shape and data.dtype in (numpy.float32, numpy.float64):
        data.read_direct(memory)
    else:
        memory = data[()]
    return Strain.of(memory, first * unit, rate_of(interval), detector or detector_of(label), channel or label)


def _seconds_in(unit: object) -> Fraction:
    name = _text(unit)
    if name not in _TIME_UNITS:
        raise NoData(f"the samples are spaced in {name!r}, which is no unit of time: this is not a time series")
    return _TIME_UNITS[name]


def _select(names: list[str], detector: str, channel: str) -> str:
    """The dataset called `channel` (groups may be left out), otherwise that of the detector, or the only one."""
    matching = [name for name in names if channel in (name, _last(name))] if channel else names
    if detector and not channel:
        matching = [name for name in matching if _last(name).startswith(detector)]
        if not matching and len(names) == 1 and not detector_of(_last(names[0])):
            matching = names
    if len(matching) != 1:
        raise NoData(f"choose with --detector or --channel among {', '.join(names)}")
    return matching[0]


def _last(name: str) -> str:
    return name.rsplit("/", 1)[-1]


def _text(value: object) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
