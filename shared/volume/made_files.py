"""Files that jobs make: described in a manifest, put in place whole, and read in parts."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from typing import BinaryIO

import msgspec

TYPES = {
    ".json": "application/json",
    ".png": "image/png",
    ".hdf5": "application/x-hdf5",
    ".html": "text/html; charset=utf-8",
}
_CHUNK = 1 << 18


class File(msgspec.Struct):
    """A file: its name relative to the manifest's folder, its size in bytes and its content's SHA-256 in hex."""

    name: str
    size: int
    sha256: str


def describe(folder: str, name: str) -> File:
    """The manifest's entry for a file."""
    with open(os.path.join(folder, name), "rb") as file:
        digest = hashlib.file_digest(file, "sha256")
        return File(name, file.tell(), digest.hexdigest())


class FileContent:
    """An open file.

    Attributes:
        media: media type.
        size: in bytes.
        sha256: names the content.
    """

    def __init__(self, name: str, sha256: str, file: BinaryIO) -> None:
        self.media = TYPES.get(os.path.splitext(name)[1], "application/octet-stream")
        self.sha256, self._file = sha256, file
        self.size = os.fstat(file.fileno()).st_size

    def read(self, start: int = 0, stop: int | None = None) -> Iterator[bytes]:
        """The bytes from `start` to before `stop`; the file is closed behind them."""
        with self._file as file:
            left = (self.size if stop is None else stop) - start
            file.seek(start)
            while left > 0 and (chunk := file.read(min(_CHUNK, left))):
                left -= len(chunk)
                yield chunk
