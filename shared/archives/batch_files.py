"""Where the files of a batch are: in its folder, or at ARCHIVE_URL. The one place that opens them for readers."""

from __future__ import annotations

import os
from typing import NamedTuple

from shared.archives.manifest import Stub, read_stub
from shared.archives.ranges import ReadAhead
from shared.archives.reading import RemoteReader
from shared.errors import StorageFailed
from shared.volume.posix import open_plain


class Where(NamedTuple):
    """Where the files of a batch are: their folder, and what reads those that lie elsewhere."""

    path: str
    remote: RemoteReader | None = None


class BatchFiles:
    """The files of one batch, for one reader. The folder stays open, also when it is moved into an archive.

    A file is taken from the folder. If it is not there, and `remote.json` says that it lies elsewhere, it is read from
    there. So the local copy may be removed at any moment.

    Args:
        path: the folder.
        remote: reads what lies elsewhere; without it nothing does.

    Raises, when made:
        OSError: the folder cannot be opened.
    """

    def __init__(self, path: str, remote: RemoteReader | None = None) -> None:
        self._fd = -1
        self._fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        self._remote = remote
        self._stub: Stub | None = None
        self._ahead = ReadAhead()

    def __del__(self) -> None:
        """Close the folder."""
        if self._fd >= 0:
            os.close(self._fd)

    def read(self, name: str) -> bytes:
        """A file of the batch, wherever it is.

        Raises:
            FileNotFoundError: the batch does not hold it, or it has been moved.
            OSError: it cannot be read.
            RemoteFailed, StorageFailed: it lies elsewhere and cannot be read now.
        """
        fd = self.open(name)
        if fd is None:
            return self.read_elsewhere(name)
        with open(fd, "rb", buffering=0) as file:
            return file.read()

    def open(self, name: str) -> int | None:
        """A descriptor of a file in the folder; None where the file is not there and others of the batch lie elsewhere.

        Raises:
            FileNotFoundError: the batch does not hold it, or it has been moved.
            OSError: it cannot be opened.
            StorageFailed: where it lies cannot be read.
        """
        try:
            return open_plain(name, self._fd)
        except FileNotFoundError:
            self._stub = self._stub or self._read_stub()
            if self._stub is None or self._remote is None:
                raise
            return None

    def read_elsewhere(self, name: str) -> bytes:
        """A file for which `open` has returned None.

        Raises:
            FileNotFoundError: the batch does not hold it.
            RemoteFailed: it cannot be read now.
        """
        assert self._stub is not None
        assert self._remote is not None
        return self._remote.segment(self._stub, name, self._ahead)

    def _read_stub(self) -> Stub | None:
        try:
            return read_stub(self._fd)
        except ValueError as error:
            raise StorageFailed(f"remote.json is damaged, restore it from a backup: {error}") from None
