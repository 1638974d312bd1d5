"""Training sets for training: map-style datasets of numpy arrays, as torch.utils.data.DataLoader takes them."""

from __future__ import annotations

import hashlib
import os
import tempfile
from pathlib import Path
from typing import Any

import h5py
import msgspec
import numpy

from gwclient.datasets import MANIFEST, fetch
from gwclient.errors import NoData
from gwclient.store import Store

Item = dict[str, Any]


class Dataset:
    """A training set: `len`, and items by index, in order of GPS time.

    An item of the layout `annalisa` has an array of samples under each channel's name. One of `stack` has
    `strain[channel, sample]`, one of `spectrograms` `energy[channel, frequency, time]`. Each has `gps`, a float.

    A set can be passed to other processes, such as the workers of a DataLoader, forked or spawned. The arrays are
    copies, which may be changed.

    Args:
        source: the folder of a set, or its URL, such as http://localhost:8080/datasets/train.
        cache: folder for files from a URL, each downloaded when it is needed first, and verified; by default
            $XDG_CACHE_HOME/gwclient.

    Attributes:
        manifest: what the store says of the set.
        gps: GPS times of the events, seconds.
        channels: names, the target first.
        sample_rates: samples per second by channel.

    Raises:
        NoData: there is no set.
        Refused, Unreachable: the store does not give it.
    """

    def __init__(self, source: str | Path, cache: str | Path | None = None) -> None:
        self._url, self._name = "", ""
        self._folder = Path(source)
        if str(source).startswith(("http://", "https://")):
            self._url, _, name = str(source).partition("/datasets/")
            self._name = name.strip("/")
            content = Store(self._url).dataset_part(self._name, MANIFEST, 0, 0)
            self._folder = Path(cache or _default_cache()) / hashlib.sha256(content).hexdigest()[:32]
        else:
            try:
                content = (self._folder / MANIFEST).read_bytes()
            except FileNotFoundError:
                raise NoData(f"{source} holds no training set: it has no {MANIFEST}") from None
        self.manifest: dict[str, Any] = msgspec.json.decode(content)
        self._layout: str = self.manifest["request"]["layout"]
        self._events: list[dict[str, Any]] = self.manifest["events"]
        self._files = {entry["name"]: entry for entry in self.manifest["files"]}
        self.gps: list[float] = [event["gps"] for event in self._events]
        self.channels: list[str] = [channel["name"] for channel in self.manifest["channels"]]
        self.sample_rates: dict[str, float] = {
            channel["name"]: channel["rate"] for channel in self.manifest["channels"]
        }

    def __len__(self) -> int:
        """The number of events."""
        return len(self._events)

    def __getitem__(self, index: int) -> Item:
        """The event of this number.

        Raises:
            IndexError: there is no such event.
            Refused, Unreachable: its file cannot be downloaded.
        """
        number = range(len(self))[index]  # which raises IndexError, and counts negative ones from the end
        event = self._events[number]
        item: Item = {"gps": event["gps"]}
        with h5py.File(self._path(event["file"]), "r") as file:
            if self._layout == "annalisa":
                (group,) = file.values()
                for name, data in group.items():
                    item[name] = data[()]
            else:
                array = "strain" if self._layout == "stack" else "energy"
                item[array] = numpy.asarray(file[array][number])
        return item

    def _part(self, file: str, start: int, stop: int) -> bytes:
        return Store(self._url).dataset_part(self._name, file, start, stop)

    def _path(self, name: str) -> Path:
        path = self._folder / name
        if not self._url or path.exists():
            return path
        self._folder.mkdir(parents=True, exist_ok=True)
        # In a folder of its own, because several workers may want the same file.
        with tempfile.TemporaryDirectory(prefix=".part-", dir=self._folder) as folder:
            fetched = fetch(self._part, self._files[name], Path(folder), lambda done: None)
            path.parent.mkdir(parents=True, exist_ok=True)
            fetched.replace(path)
        return path


def _default_cache() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "gwclient"
