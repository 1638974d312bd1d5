"""Where strain comes from: open data by event, files, and the sample inside gwpy's wheel; always as exact float64."""

from __future__ import annotations

import hashlib
import importlib.util
import os
import re
import tempfile
from dataclasses import dataclass, replace
from fractions import Fraction
from math import ceil
from pathlib import Path

import h5py
import httpx
import numpy

from client.errors import NoData, Unreachable

GWOSC = "https://gwosc.org"
_SAMPLE = "testing/data/HLV-HW100916-968654552-1.hdf"
_PATIENCE = 5.0  # seconds until the internet counts as absent


@dataclass(frozen=True)
class Strain:
    """Contiguous strain of one detector.

    Attributes:
        samples: float64, dimensionless; narrower sources are widened, which is exact.
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

    def time_of(self, index: int) -> float:
        """GPS time of a sample, rounded once: nothing accumulates."""
        return float(self.t0 + index / self.rate)

    def around(self, gps: Fraction, before: float, after: float) -> Strain:
        """The samples in [gps - before, gps + after).

        Raises:
            NoData: it does not hold all of them.
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
        """Itself.

        Raises:
            NoData: there are no samples, or the detector was not observing all the time (then samples are NaN).
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


def from_event(event: str, detector: str, window: tuple[float, float], rate: int = 4096, host: str = GWOSC) -> Strain:
    """Open data of an event, from `window[0]` seconds before its GPS time to `window[1]` seconds after.

    Raises:
        Unreachable: there is no internet, or GWOSC does not answer; known within seconds.
        NoData: there is no such event, or no such data of it.
    """
    import requests
    import tenacity
    from gwosc.api import v2
    from gwosc.locate import get_event_urls

    try:
        httpx.get(f"{host}/api/v2/", timeout=_PATIENCE)  # gwosc itself would try for minutes
        # An unknown event and one that is not public answer alike, with 404.
        gps = Fraction(str(v2.fetch_event_version(event, host=host)["gps"]))
        begin, end = float(gps) - window[0], float(gps) + window[1]
        urls = get_event_urls(event, detector=detector, start=int(begin), end=ceil(end), sample_rate=rate, host=host)
    except requests.HTTPError as error:
        if error.response is not None and error.response.status_code == 404:
            raise NoData(f"GWOSC knows no event {event!r}") from None
        raise Unreachable(f"GWOSC: {error}") from None
    except (httpx.TransportError, requests.RequestException, tenacity.RetryError) as error:
        raise Unreachable(f"no open data: {host} does not answer ({error}); is there internet? Try --sample") from None
    except (ValueError, KeyError) as error:
        raise NoData(f"no open data of {detector} for {event}: {error}") from None
    if not urls:
        raise NoData(f"{detector} has no open data for {event}: it was not observing")
    # Files of 32 s and of 4096 s: the longer one is 100 MB, and rarely needed.
    shortest = next((url for url in sorted(urls, key=_duration) if _covers(url, begin, end)), max(urls, key=_duration))
    return _download(shortest, detector).around(gps, *window).checked()


def _covers(url: str, begin: float, end: float) -> bool:
    found = re.search(r"-(\d+)-(\d+)\.\w+$", url)
    return found is not None and int(found[1]) <= begin and end <= int(found[1]) + int(found[2])


def _duration(url: str) -> int:
    """Of a GWOSC file, from its name: `L-L1_GWOSC_4KHZ_R1-1126259447-32.hdf5` holds 32 s."""
    found = re.search(r"-(\d+)\.\w+$", url)
    return int(found[1]) if found else 1 << 31


def _download(url: str, detector: str) -> Strain:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / (url.rsplit("/", 1)[-1] or "strain.hdf5")
        try:
            with httpx.stream("GET", url, timeout=_PATIENCE, follow_redirects=True) as answer, path.open("wb") as file:
                answer.raise_for_status()
                for part in answer.iter_bytes():
                    file.write(part)
        except httpx.HTTPError as error:
            raise Unreachable(f"{url}: {error}") from None
        return from_hdf5(path, detector)


def from_sample(detector: str) -> Strain:
    """One second of real strain of H1, L1 or V1 at 16384 Hz, from the wheel of gwpy, which is not imported.

    Raises:
        NoData: gwpy is not installed, or it is another detector.
    """
    spec = importlib.util.find_spec("gwpy")
    if spec is None or not spec.submodule_search_locations:
        raise NoData("--sample is inside gwpy's wheel: pip install 'dt-datastore[preproc]'")
    return from_hdf5(Path(spec.submodule_search_locations[0]) / _SAMPLE, detector)


def from_file(path: Path, detector: str = "", channel: str = "", t0: str = "", rate: str = "") -> Strain:
    """Strain from a file, by the ending of its name: HDF5 (.hdf5 .hdf .h5), GWF (.gwf), else text.

    Args:
        path: the file.
        detector: which one, where there are several; or what to call it.
        channel: likewise; a GWF file needs it.
        t0: GPS time of the first sample, for text that does not say.
        rate: samples per second, for text that does not say.

    Raises:
        NoData: it cannot be read, or holds no such strain.
    """
    if not path.is_file():
        raise NoData(f"{path}: no such file")
    ending = path.suffix.lower()
    if ending in (".hdf5", ".hdf", ".h5"):
        return from_hdf5(path, detector, channel)
    if ending == ".gwf":
        return _from_gwf(path, detector, channel)
    return _from_text(path, detector, channel, t0, rate)


def from_hdf5(path: Path, detector: str = "", channel: str = "") -> Strain:
    """Strain from HDF5 as GWOSC publishes it (`strain/Strain`), or as gwpy writes it (datasets with `x0` and `dx`)."""
    try:
        with h5py.File(path) as file:
            if "strain/Strain" in file:
                data = file["strain/Strain"]
                found = _text(file["meta/Detector"][()]) if "meta/Detector" in file else detector
                if detector and found != detector:
                    raise NoData(f"{path}: holds strain of {found}, not of {detector}")
                return _strain(data, data.attrs["Xstart"], data.attrs["Xspacing"], found, channel)
            series: dict[str, h5py.Dataset] = {}
            file.visititems(lambda name, item: series.update({name: item} if "x0" in item.attrs else {}))
            name = _one_of(path, sorted(series), detector, channel)
            data = series[name]
            return _strain(data, data.attrs["x0"], data.attrs["dx"], detector or _prefix(name), channel or name)
    except (OSError, KeyError) as error:
        raise NoData(f"{path}: not strain as GWOSC or gwpy write it: {error}") from None


def _one_of(path: Path, names: list[str], detector: str, channel: str) -> str:
    matching = [name for name in names if name == channel] if channel else names
    if detector and not channel:
        matching = [name for name in matching if name.rsplit("/", 1)[-1].startswith(detector)] or (
            names if len(names) == 1 and not _prefix(names[0]) else []
        )
    if len(matching) != 1:
        raise NoData(f"{path}: choose with --detector or --channel among {', '.join(names) or 'nothing'}")
    return matching[0]


def _prefix(name: str) -> str:
    found = re.match(r"([A-Z]\d):", name.rsplit("/", 1)[-1])
    return found[1] if found else ""


def _text(value: object) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


def _from_gwf(path: Path, detector: str, channel: str) -> Strain:
    if not channel:
        raise NoData(f"{path}: a GWF file needs --channel")
    try:
        from gwpy.timeseries import TimeSeries
    except ImportError:
        raise NoData(f"{path}: GWF needs gwpy and a reader: pip install 'dt-datastore[preproc]' lalsuite") from None
    try:
        series = TimeSeries.read(str(path), channel)
    except Exception as error:  # gwpy's readers raise whatever their libraries do
        raise NoData(f"{path}: {error}") from None
    return _strain(series.value, series.x0.value, series.dx.value, detector or _prefix(channel), channel)


def _from_text(path: Path, detector: str, channel: str, t0: str, rate: str) -> Strain:
    """One column of strain, under a header as in GWOSC's text files; or two columns, GPS time and strain."""
    try:
        with path.open() as file:
            head = "".join(line for _, line in zip(range(10), file, strict=False) if line.startswith("#"))
        columns = numpy.loadtxt(path, delimiter="," if path.suffix.lower() == ".csv" else None, ndmin=2)
    except (OSError, ValueError) as error:
        raise NoData(f"{path}: {error}") from None
    if columns.shape[1] == 2 and len(columns) > 1:
        times, samples = columns[:, 0], numpy.ascontiguousarray(columns[:, 1])
        dt = (times[-1] - times[0]) / (len(times) - 1)
        if dt <= 0 or abs(numpy.diff(times) - dt).max() > dt / 2:
            raise NoData(f"{path}: the times in the first column are not evenly spaced")
        return _strain(samples, t0 or times[0], 1 / Fraction(rate) if rate else dt, detector, channel)
    t0 = t0 or _found(r"starting GPS (\d+)", head)
    rate = rate or _found(r"has (\d+) samples per second", head)
    if columns.shape[1] != 1 or not t0 or not rate:
        raise NoData(f"{path}: one column of strain needs --t0 and --sample-rate; otherwise GPS time and strain")
    return _strain(columns[:, 0], t0, 1 / Fraction(rate), detector, channel)


def _found(pattern: str, text: str) -> str:
    found = re.search(pattern, text)
    return found[1] if found else ""


def _strain(data: object, t0: object, dt: object, detector: str, channel: str) -> Strain:
    samples = numpy.asarray(data[()] if isinstance(data, h5py.Dataset) else data)
    if samples.ndim != 1 or samples.dtype.kind not in "fiu":
        raise NoData(f"strain is one row of numbers, not {samples.dtype} of shape {samples.shape}")
    start = t0 if isinstance(t0, str) else t0.item() if hasattr(t0, "item") else t0
    return Strain(samples.astype(numpy.float64), Fraction(start), _rate(dt), detector, channel)  # type: ignore[arg-type]


def _rate(dt: object) -> Fraction:
    """Samples per second: whole where dt is the rounded inverse of a whole number, as it nearly always is."""
    exact = 1 / (dt if isinstance(dt, Fraction) else Fraction(float(dt)))  # type: ignore[arg-type]
    whole = round(exact)
    return Fraction(whole) if whole and abs(exact - whole) <= exact * Fraction(1, 10**6) else exact


def identity(strain: Strain) -> str:
    """A digest of samples and times: two sources with the same one are the same strain."""
    digest = hashlib.sha256(strain.samples.tobytes())
    digest.update(repr((strain.t0, strain.rate, strain.detector, strain.channel)).encode())
    return digest.hexdigest()


def state_folder() -> Path:
    """Where state files lie by default (XDG Base Directory Specification)."""
    return Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state") / "gwclient"
