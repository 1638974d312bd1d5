"""Writing HDF5 in the layouts that readers of the field know. Runs as a process of its own, for `Hdf5Process`.

For each request, one line of JSON (`Request`) and then the samples come on standard input, and one line of JSON
(`Reply`) goes to standard output. The same request makes the same bytes: no times are recorded, and groups are indexed
by name.

Sources: gwpy's and pycbc's documentation; GWOSC's strain files of run O3; DT-Virgo-dags for the digital twin's layout.
"""

from __future__ import annotations

import math
import os
import re
import sys
from collections.abc import Callable
from datetime import datetime, timedelta
from fractions import Fraction
from typing import BinaryIO, NamedTuple

import h5py
import msgspec
import numpy

from shared.decoding import json_decoder
from shared.strain.formats.hdf5_request import Channel, Reply, Request

_GPS_EPOCH = datetime(1980, 1, 6)  # noqa: DTZ001 - UTC, as text without an offset
_LEAP_SECONDS = 18  # GPS minus UTC, since 2017
_AT_END = re.compile(r"(/\.?)+$")
_DATA_PRESENT = 1  # bit 0 of GWOSC's mask


class Stretch(NamedTuple):
    """Contiguous samples: GPS time of the first, and the vector of float64."""

    t0: Fraction
    samples: numpy.ndarray


Strain = list[tuple[Channel, list[Stretch]]]


def write(request: Request, source: BinaryIO) -> None:
    """Write one file.

    Args:
        request: what is to be written, and where.
        source: the samples of all stretches one after another, little-endian float64.

    Raises:
        ValueError: the layout cannot hold the request, or samples are missing. The file is removed.
        OSError: the file cannot be written. It is removed.
    """
    strain: Strain = [
        (channel, [Stretch(piece.start, _samples(source, piece.n)) for piece in channel.pieces])
        for channel in request.channels
    ]
    try:
        # The oldest file format: all readers have it, and it has no times.
        with h5py.File(request.output, "w", libver="earliest", track_order=False) as file:
            _LAYOUTS[request.layout](file, request, strain)
    except BaseException:
        if os.path.exists(request.output):
            os.unlink(request.output)
        raise


def _samples(source: BinaryIO, n: int) -> numpy.ndarray:
    block = source.read(8 * n)
    if len(block) != 8 * n:
        raise ValueError(f"{len(block)} bytes of samples came instead of {8 * n}")
    samples: numpy.ndarray = numpy.frombuffer(block, "<f8")
    return samples


def _gwpy(file: h5py.File, _: Request, strain: Strain) -> None:
    """A dataset for each channel, or for each of its stretches. gwpy refuses attributes that it does not know."""
    for channel, stretches in strain:
        for path, (t0, samples) in _paths(channel.channel, stretches):
            attributes = file.create_dataset(path, data=samples, track_times=False).attrs
            attributes["x0"] = float(t0)
            attributes["dx"] = float(1 / channel.exact_rate)
            attributes["xunit"] = "s"
            attributes["unit"] = channel.unit
            attributes["name"] = attributes["channel"] = channel.channel


def _dtvirgo(file: h5py.File, request: Request, strain: Strain) -> None:
    """A group for the event, with a dataset for each channel."""
    event = request.event or f"{math.floor(request.start)}"
    for channel, stretches in strain:
        for path, (t0, samples) in _paths(f"{event}/{channel.channel}", stretches):
            attributes = file.create_dataset(path, data=samples, track_times=False).attrs
            attributes["t0"] = float(t0)
            attributes["sample_rate"] = channel.rate


def _pycbc(file: h5py.File, _: Request, strain: Strain) -> None:
    """A dataset for each channel. `data` is a second name of the only one, which pycbc reads without a group."""
    for channel, stretches in strain:
        for path, (t0, samples) in _paths(channel.channel, stretches):
            data = file.create_dataset(path, data=samples, track_times=False)
            data.attrs["start_time"] = float(t0)
            data.attrs["delta_t"] = float(1 / channel.exact_rate)
    if len(strain) == 1 and len(strain[0][1]) == 1 and "data" not in file:
        file["data"] = file[strain[0][0].channel]


def _gwosc(file: h5py.File, request: Request, strain: Strain) -> None:
    """Strain of one channel from start to end, NaN where there is none, with a mask that tells the whole seconds."""
    (channel, stretches), *others = strain
    if others or not stretches:
        raise ValueError("layout gwosc holds one channel: ask for one, or choose layout gwpy")
    rate = channel.exact_rate
    t0 = stretches[0].t0 - math.floor((stretches[0].t0 - request.start) * rate) / rate
    places = [round((stretch.t0 - t0) * rate) for stretch in stretches]
    n = max(math.ceil((request.end - t0) * rate), places[-1] + len(stretches[-1].samples))
    values = numpy.full(n, numpy.nan)
    for place, stretch in zip(places, stretches, strict=True):
        values[place : place + len(stretch.samples)] = stretch.samples
    begin = math.floor(t0)
    seconds = math.floor(t0 + (n - 1) / rate) - begin + 1

    data = file.create_dataset("strain/Strain", data=values, track_times=False)
    _axes(data, n, float(t0), float(1 / rate), "GPS time")
    data.attrs["Ylabel"], data.attrs["Yunits"] = "Strain", ""
    _text(file, "strain/GWOSCmeta", channel.channel.partition(":")[2] or channel.channel)
    detector = channel.detector or "X1"
    _text(file, "meta/Detector", detector)
    _text(file, "meta/Observatory", detector[:1])
    _text(file, "meta/Type", "StrainTimeSeries")
    _text(file, "meta/Description", f"Strain of {channel.channel}")
    # Up to now no further leap second has been announced; the text is for people.
    _text(file, "meta/UTCstart", (_GPS_EPOCH + timedelta(seconds=begin - _LEAP_SECONDS)).isoformat())
    file.create_dataset("meta/GPSstart", data=begin, track_times=False)
    file.create_dataset("meta/Duration", data=seconds, track_times=False)

    mask = numpy.array([_DATA_PRESENT * _covers(channel, begin + k) for k in range(seconds)], "<u4")
    quality = file.create_dataset("quality/simple/DQmask", data=mask, track_times=False)
    _axes(quality, seconds, float(begin), 1.0, "GPS time")
    _text(file, "quality/simple/DQShortnames", ["DATA"])
    _text(file, "quality/simple/DQDescriptions", ["data present in all of this second"])


def _covers(channel: Channel, second: int) -> bool:
    """Whether one piece has every sample of this second."""
    interval = 1 / channel.exact_rate
    return any(
        piece.start - interval < second and piece.start + piece.n * interval >= second + 1 for piece in channel.pieces
    )


def _axes(data: h5py.Dataset, n: int, start: float, spacing: float, label: str) -> None:
    for name, value in [("Npoints", n), ("Xstart", start), ("Xspacing", spacing)]:
        data.attrs[name] = value
    data.attrs["Xlabel"], data.attrs["Xunits"] = label, "second"


def _text(file: h5py.File, name: str, text: str | list[str]) -> None:
    file.create_dataset(name, data=text, dtype=h5py.string_dtype(), track_times=False)


def _paths(name: str, stretches: list[Stretch]) -> list[tuple[str, Stretch]]:
    """Where stretches go: one at `name`, several at `name/0`, `name/1` and so on.

    Raises:
        ValueError: HDF5 cannot have a dataset with that name.
    """
    path = _AT_END.sub("", name)  # HDF5 finds it by either
    if path in ("", "."):
        raise ValueError(f"HDF5 has no place for a channel called {name}: ask for another format")
    if len(stretches) == 1:
        return [(path, stretches[0])]
    return [(f"{path}/{number}", stretch) for number, stretch in enumerate(stretches)]


_LAYOUTS: dict[str, Callable[[h5py.File, Request, Strain], None]] = {
    "gwpy": _gwpy,
    "gwosc": _gwosc,
    "dtvirgo": _dtvirgo,
    "pycbc": _pycbc,
}


def main() -> None:
    """Serve requests until standard input ends, or until one fails: its samples may not all have been read."""
    reply = Reply()
    while not reply.error and (line := sys.stdin.buffer.readline()):
        try:
            write(json_decoder(Request).decode(line), sys.stdin.buffer)
        except Exception as error:
            reply = Reply(error=str(error) or type(error).__name__, rejected=isinstance(error, ValueError))
        sys.stdout.buffer.write(msgspec.json.encode(reply) + b"\n")
        sys.stdout.buffer.flush()


if __name__ == "__main__":
    main()
