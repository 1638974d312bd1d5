"""The batch's files: one segment each, made visible in `data/` by one rename."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

from shared.domain.records import file_number
from shared.domain.state import Inventory, fingerprint
from shared.errors import StorageFailed
from shared.volume.layout import Layout
from shared.volume.posix import PosixFileSystem, open_beneath, storage_errors
from shared.volume.spool import SpoolDirectory


class DataFiles:
    """The files in `data/`. Safe to use from several threads; only the writer changes them."""

    def __init__(self, layout: Layout, spool: SpoolDirectory) -> None:
        self._fs = PosixFileSystem()
        self._spool = spool
        self.folder = layout.data

    def path(self, name: str) -> str:
        """Path of a segment's file."""
        return f"{self.folder}/{name}"

    def publish(self, spool: str, offset: int, name: str) -> None:
        """Make a staged payload visible under its name, whole, in one rename.

        Raises:
            FileNotFoundError: nothing is staged there.
            OSError: the volume refuses.
        """
        self._fs.mv(self._spool.staged(spool, offset), self.path(name))

    def read(self, name: str) -> bytes:
        """Content of a segment's file.

        Raises:
            OSError: it is not there, or cannot be read.
        """
        with open(open_beneath(self.folder, name), "rb") as file:
            return file.read()

    def restore(self, name: str, payload: bytes) -> None:
        """Put a segment's file back, in one step.

        Raises:
            StorageFailed: the volume refuses.
        """
        temp = self._spool.staged("restore", 0)
        with storage_errors(f"restoring {name}"):
            self._fs.pipe_file(temp, payload)
            self._fs.mv(temp, self.path(name))

    def inventory(self, last: int) -> Inventory:
        """The inventory of the segments' files with a number up to `last`; later ones may be on their way.

        Raises:
            StorageFailed: the folder cannot be read.
        """
        files = size = total = 0
        for number, length in self.sizes():
            if number <= last:
                files += 1
                size += length
                total += fingerprint(number, length)
        return Inventory(files, size, total & (1 << 64) - 1)

    def sizes(self) -> Iterator[tuple[int, int]]:
        """Number and size of every segment's file.

        Raises:
            StorageFailed: the folder cannot be read.
        """
        with storage_errors("listing the batch's files"), os.scandir(self.folder) as entries:
            for entry in entries:
                if entry.name.startswith("gwb") and entry.name.endswith(".json"):
                    with contextlib.suppress(FileNotFoundError, ValueError):  # archived at this moment; no name of ours
                        yield file_number(entry.name), entry.stat(follow_symlinks=False).st_size

    def exists(self) -> bool:
        """Whether the folder is there."""
        return os.path.isdir(self.folder)

    def create(self) -> None:
        """Create the folder.

        Raises:
            StorageFailed: the volume refuses.
        """
        with storage_errors("creating the folder of the batch"):
            os.makedirs(self.folder, exist_ok=True)

    def require_file_system_of(self, path: str) -> None:
        """Check that files can be renamed from `path` into the folder.

        Raises:
            StorageFailed: the two are on different file systems.
        """
        with storage_errors(self.folder):
            if os.stat(self.folder).st_dev != os.stat(path).st_dev:
                raise StorageFailed(
                    f"{self.folder} and {path} are on different file systems, and files are renamed between them; "
                    "mount one volume for both."
                )

    def holds_segments(self) -> bool:
        """Whether any segment's file is in the folder."""
        return self.exists() and any(name.startswith("gwb") for name in os.listdir(self.folder))
