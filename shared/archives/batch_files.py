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


class Content(NamedTuple):
    """A file's content, and what identifies the file it was read from: the same only for the same bytes."""

    content: bytes
    identity: tuple[object, ...]


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

    def read(self, name: str) -> Content:
        """A file of the batch.

        Raises:
            FileNotFoundError: the batch does not hold it, or it has been moved.
            OSError: it cannot be read.
            RemoteFailed, StorageFailed: it lies elsewhere and cannot be read now.
        """
        try:
            with open(open_plain(name, self._fd), "rb", buffering=0) as file:
                content = file.read()
                status = os.fstat(file.fileno())
            return Content(content, (status.st_dev, status.st_ino, status.st_mtime_ns, status.st_size))
        except FileNotFoundError:
            stub = self._stub = self._stub or self._read_stub()
            if stub is None or self._remote is None:
                raise
        return Content(self._remote.segment(stub, name, self._ahead), (stub.prefix, stub.manifest.sha256, name))

    def _read_stub(self) -> Stub | None:
        try:
            return read_stub(self._fd)
        except ValueError as error:
            raise StorageFailed(f"remote.json is damaged, restore it from a backup: {error}") from None
