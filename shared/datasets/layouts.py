"""The files of training sets, written by h5py: one HDF5 file an event, or one with an array of all events."""

from __future__ import annotations

import os
from array import array
from collections.abc import Iterable, Sequence
from importlib.metadata import version
from typing import NamedTuple, Protocol

import h5py
import numpy

from shared.datasets.request import Request


class Channel(NamedTuple):
    """A channel of a set: its name, samples per second, and samples in a window."""

    name: str
    rate: float
    n: int


class Cut(NamedTuple):
    """The samples of channel number `channel` around an event; `t0` is the GPS time of the first one."""

    channel: int
    t0: float
    samples: array[float]


class Untransformable(Exception):
    """Samples of which no Q-transform can be made, such as those of a channel that is always zero."""

    def __init__(self, channel: int, reason: str) -> None:
        super().__init__(reason)
        self.channel = channel


class EventWriter(Protocol):
    """Writes the events of a set, one after another."""

    def write(self, name: str, gps: float, cuts: Iterable[Cut]) -> str:
        """Write an event; return its file's name.

        Raises:
            Untransformable: nothing of the event is kept.
        """

    def close(self) -> list[str]:
        """Finish; return the names of all files."""


def writer(folder: str, request: Request, channels: Sequence[Channel], most: int) -> EventWriter:
    """The writer of a request's layout, for at most `most` events."""
    if request.layout == "annalisa":
        return EventFiles(folder, request, channels)
    if request.layout == "stack":
        return Stack(folder, request, channels, most)
    return Spectrograms(folder, request, channels, most)


class EventFiles:
    """`events/<event>.hdf5`: a group named by the event, in it a dataset a channel, with `t0` and `sample_rate`.

    Args:
        folder: an existing folder.
        request: names the type of the samples.
        channels: of the set.
    """

    def __init__(self, folder: str, request: Request, channels: Sequence[Channel]) -> None:
        self._folder, self._type, self._channels = folder, request.dtype, channels
        self._names: list[str] = []
        os.mkdir(os.path.join(folder, "events"))

    def write(self, name: str, gps: float, cuts: Iterable[Cut]) -> str:
        """As `EventWriter`."""
        file_name = f"events/{name}.hdf5"
        with h5py.File(os.path.join(self._folder, file_name), "w") as file:
            group = file.create_group(name)
            group.attrs["gps"] = gps
            for cut in cuts:
                channel = self._channels[cut.channel]
                data = numpy.frombuffer(cut.samples).astype(self._type, copy=False)
                # Without times, so that the same samples give the same bytes.
                dataset = group.create_dataset(channel.name, data=data, track_times=False)
                dataset.attrs["t0"] = cut.t0
                dataset.attrs["sample_rate"] = channel.rate
        self._names.append(file_name)
        return file_name

    def close(self) -> list[str]:
        """As `EventWriter`."""
        return self._names


class _ArrayFile:
    """One HDF5 file whose first axis is the event; an event that fails leaves its row to the next one."""

    def __init__(
        self, path: str, array_name: str, shape: Sequence[int], type: str, channels: Sequence[Channel]
    ) -> None:
        self._name = os.path.basename(path)
        self._file = h5py.File(path, "w")
        self._count = 0
        self._gps: list[float] = []
        self._t0: list[list[float]] = []
        self._array = self._file.create_dataset(
            array_name,
            shape=tuple(shape),
            dtype=type,
            chunks=(1, 1, *shape[2:]),
            maxshape=(None, *shape[1:]),
            fillvalue=numpy.nan,
            track_times=False,
        )
        names = [channel.name.encode() for channel in channels]
        self._put("channels", numpy.array(names, h5py.string_dtype("utf-8", max(map(len, names)))))

    def _put(self, name: str, data: object) -> None:
        self._file.create_dataset(name, data=data, track_times=False)

    def _row(self, gps: float, rows: Iterable[tuple[int, float, object]]) -> str:
        t0 = [numpy.nan] * self._array.shape[1]
        for channel, time, data in rows:
            t0[channel] = time
            self._array[self._count, channel] = data
        self._gps.append(gps)
        self._t0.append(t0)
        self._count += 1
        return self._name

    def close(self) -> list[str]:
        """As `EventWriter`."""
        self._array.resize(self._count, axis=0)
        self._put("gps", numpy.array(self._gps, "f8"))
        self._put("t0", numpy.array(self._t0, "f8").reshape(self._count, self._array.shape[1]))
        self._file.close()
        return [self._name]


class Stack(_ArrayFile):
    """`stack.hdf5`: `strain[event, channel, sample]`, with `gps`, `t0`, `channels` and `sample_rate`.

    Args:
        folder: an existing folder.
        request: names the type of the samples.
        channels: of the set; all have the same rate.
        most: events at the most.
    """

    def __init__(self, folder: str, request: Request, channels: Sequence[Channel], most: int) -> None:
        shape = (most, len(channels), channels[0].n)
        super().__init__(os.path.join(folder, "stack.hdf5"), "strain", shape, request.dtype, channels)
        self._put("sample_rate", channels[0].rate)

    def write(self, name: str, gps: float, cuts: Iterable[Cut]) -> str:
        """As `EventWriter`."""
        return self._row(gps, ((cut.channel, cut.t0, numpy.frombuffer(cut.samples)) for cut in cuts))


class Spectrograms(_ArrayFile):
    """`spectrograms.hdf5`: `energy[event, channel, frequency, time]`, normalised to a median of one in every row.

    `frequencies` are in Hz, `times` in seconds from the event.

    Args:
        folder: an existing folder.
        request: has the parameters of the transform.
        channels: of the set.
        most: events at the most.
    """

    def __init__(self, folder: str, request: Request, channels: Sequence[Channel], most: int) -> None:
        from shared.datasets import qtransform  # gwpy takes seconds to import

        self._transform, self._channels = request.transform, channels
        self._energy = qtransform.energy
        shape = (most, len(channels), *request.transform.shape)
        super().__init__(os.path.join(folder, "spectrograms.hdf5"), "energy", shape, "float32", channels)
        rows, columns = request.transform.shape
        self._put("frequencies", numpy.geomspace(*request.transform.frange, rows))
        self._put("times", request.window[0] + numpy.arange(columns) * float(request.duration) / columns)

    def write(self, name: str, gps: float, cuts: Iterable[Cut]) -> str:
        """As `EventWriter`."""
        rows: list[tuple[int, float, object]] = []
        for cut in cuts:
            try:
                energy = self._energy(cut.samples, self._channels[cut.channel].rate, self._transform)
            except (OSError, MemoryError):
                raise
            except Exception as error:
                raise Untransformable(cut.channel, f"{type(error).__name__}: {error}") from error
            rows.append((cut.channel, cut.t0, energy))
        return self._row(gps, rows)


def versions() -> dict[str, str]:
    """The versions of what the bytes depend on."""
    return {name: version(name) for name in ("h5py", "numpy")}
