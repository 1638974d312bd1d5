"""Finished training sets: a folder each, in `datasets/` beside their batch, listed, read and removed from there."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
from collections.abc import Iterator
from typing import BinaryIO, NamedTuple

import msgspec

from shared.datasets.request import Request, is_name
from shared.decoding import json_decoder
from shared.errors import NoSuchRoute
from shared.storage.batches import Batches
from shared.volume.layout import Layout
from shared.volume.made_files import File, FileContent
from shared.volume.posix import fsync_directory, open_beneath, storage_errors
from shared.volume.tar import Tar

MANIFEST = "manifest.json"
_ATTEMPTS = 3  # to find a set: it may be moved into an archive at this moment


class Manifest(msgspec.Struct, kw_only=True):
    """`manifest.json`. Times are GPS seconds, spans are [begin, end). It holds no time of its making, so that the same
    request on the same batch gives the same bytes.

    Attributes:
        state: "done", where a set that is not done has "waiting", "working" or "failed".
        request: as it was understood, with all defaults.
        batch, opened, n_itm, buff_size: the batch's number, identity of its journal, segments and bytes.
        channels: name, detector, rate, and the spans that the batch has of each.
        events: those kept: name, GPS time, file, and of peaks energy and frequency.
        left_out: the other events, with the reason, and the spans that are missing by channel.
        remarks: what else was left out, such as strain too short to look for peaks in.
        versions: of the libraries that the bytes depend on.
    """

    name: str
    state: str = "done"
    request: Request
    batch: int
    opened: int
    n_itm: int
    buff_size: int
    channels: list[dict[str, object]]
    events: list[dict[str, object]]
    left_out: list[dict[str, object]]
    remarks: list[dict[str, object]]
    files: list[File]
    versions: dict[str, str]


class Summary(msgspec.Struct):
    """A set in a list; the counts of its events are the manifest's lengths."""

    name: str
    batch: int
    n_itm: int
    events: list[msgspec.Raw]
    left_out: list[msgspec.Raw]
    files: list[File]


class Located(NamedTuple):
    """A set: its folder, and its manifest as bytes."""

    folder: str
    content: bytes

    @property
    def manifest(self) -> Manifest:
        """The manifest."""
        return json_decoder(Manifest).decode(self.content)


def encode(manifest: Manifest) -> bytes:
    """The bytes of `manifest.json`, indented for readers."""
    return msgspec.json.format(msgspec.json.encode(manifest), indent=1) + b"\n"


class DatasetStore:
    """The finished sets on a volume. Safe to use from several threads.

    Args:
        layout: the store's paths.
        batches: the batches on the volume.
    """

    def __init__(self, layout: Layout, batches: Batches) -> None:
        self._layout = layout
        self._batches = batches
        self._checksums: tuple[bytes, dict[str, File]] = (b"", {})

    def find(self, name: str) -> Located | None:
        """The set of this name, beside the open batch or in an archive."""
        for folder in self._folders():
            with contextlib.suppress(OSError):
                return self._located(folder, name)
        return None

    def require(self, name: str) -> Located:
        """As `find`.

        Raises:
            NoSuchRoute: there is none.
        """
        if is_name(name) and (found := self.find(name)) is not None:
            return found
        raise NoSuchRoute(f"there is no training set {name!r}; GET /datasets lists them")

    def all(self) -> Iterator[Summary]:
        """All sets: those of the open batch first."""
        for folder in self._folders():
            with contextlib.suppress(FileNotFoundError):
                for name in sorted(os.listdir(folder)):
                    with contextlib.suppress(OSError, msgspec.DecodeError):
                        yield json_decoder(Summary).decode(self._located(folder, name).content)

    def content(self, name: str, file: str) -> FileContent:
        """A file of a set; only names in the manifest reach the file system.

        Raises:
            NoSuchRoute: there is no such set, or no such file in it.
        """
        for _ in range(_ATTEMPTS):
            located = self.require(name)
            if file == MANIFEST:
                checksum = hashlib.sha256(located.content).hexdigest()
            elif (entry := self._files(located).get(file)) is not None:
                checksum = entry.sha256
            else:
                break
            with contextlib.suppress(FileNotFoundError):
                return FileContent(file, checksum, open(open_beneath(located.folder, file), "rb"))
        raise NoSuchRoute(f"the training set {name!r} has no file {file!r}; its manifest lists them")

    def tar(self, name: str) -> tuple[str, Tar]:
        """A set as one tar file, and a name for its content.

        Raises:
            NoSuchRoute: there is no such set.
        """
        located = self.require(name)
        files = [File(MANIFEST, len(located.content), ""), *self._files(located).values()]

        def reader(file: str) -> BinaryIO:
            try:
                return open(open_beneath(located.folder, file), "rb")
            except FileNotFoundError:  # moved into an archive
                return open(open_beneath(self.require(name).folder, file), "rb")

        entries = [(f"{name}/{file.name}", file.size, file.name) for file in files]
        return hashlib.sha256(b"tar" + located.content).hexdigest(), Tar(entries, reader)

    def remove(self, name: str) -> None:
        """Remove a set: it is gone in one step, and its files soon after.

        Raises:
            NoSuchRoute: there is no such set.
            StorageFailed: it cannot be removed.
        """
        self.require(name)
        removed = os.path.join(self._layout.dataset_work, f"removed-{name}")
        with storage_errors(f"removing {name}"):
            shutil.rmtree(removed, ignore_errors=True)
            os.makedirs(self._layout.dataset_work, exist_ok=True)
            for _ in range(_ATTEMPTS):
                folder = self.require(name).folder
                with contextlib.suppress(FileNotFoundError):
                    os.rename(folder, removed)
                    fsync_directory(os.path.dirname(folder))
                    break
            shutil.rmtree(removed, ignore_errors=True)

    def _folders(self) -> Iterator[str]:
        yield self._layout.datasets
        for archived in reversed(self._batches.archived()):
            yield self._layout.datasets_of(archived.name)

    def _located(self, folder: str, name: str) -> Located:
        path = os.path.join(folder, name)
        with open(open_beneath(path, MANIFEST), "rb") as file:
            return Located(path, file.read())

    def _files(self, located: Located) -> dict[str, File]:
        """The manifest's files by name; decoded once for all requests for files of one set."""
        if self._checksums[0] != located.content:
            self._checksums = located.content, {file.name: file for file in located.manifest.files}
        return self._checksums[1]
