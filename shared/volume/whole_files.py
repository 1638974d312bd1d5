"""Files put in place whole, in one step: written beside their place, synced, and renamed."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator

from shared.failpoints import failpoint
from shared.volume.posix import file_lock, fsync_directory, locked, same_file, storage_errors

_TURN = 10.0  # seconds to wait for others that replace the same file
_PATIENCE = 5.0  # seconds to wait for others that change files of the same folder


def atomic_replace(path: str, content: bytes, before_rename: str = "") -> None:
    """Put `content` at `path` in one step that survives a power loss: same-folder temp, sync, rename, sync folder.

    Safe to use from several threads and processes: one writes after another, and the last content stays.
    `before_rename` names the failpoint passed when all is written and the old content is still in place.

    Raises:
        OSError: the volume refuses; the old content is in place.
        Busy: others have been writing for `_TURN` seconds.
    """
    with _only_writer(f"{path}.next") as (temp, fd):
        view = memoryview(content)
        while view:
            view = view[os.write(fd, view) :]
        os.fsync(fd)
        if before_rename:
            failpoint(before_rename)
        os.replace(temp, path)
    fsync_directory(os.path.dirname(path))


@contextlib.contextmanager
def _only_writer(temp: str) -> Iterator[tuple[str, int]]:
    """An empty temporary file, open for writing, which no other thread or process writes until it has its final name.

    Its name is the same each time, so that what a crash leaves is not left twice.
    """
    while True:
        fd = os.open(temp, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)
        try:
            with file_lock(fd, _TURN):
                if same_file(fd, temp):  # else the one before has put it in place
                    with _nothing_left(temp):
                        os.ftruncate(fd, 0)
                        yield temp, fd
                    return
        finally:
            os.close(fd)


@contextlib.contextmanager
def changing(folder: str, doing: str) -> Iterator[None]:
    """Keep others, here and in other processes, from changing a folder's files. The folder is made if it is not there.

    Raises:
        Busy: others have been changing them for `_PATIENCE` seconds.
        StorageFailed: the volume refuses while `doing`.
    """
    with storage_errors(doing):
        os.makedirs(folder, exist_ok=True)
        with locked(f"{folder}.lock", _PATIENCE):
            yield


@contextlib.contextmanager
def _nothing_left(temp: str) -> Iterator[None]:
    """Remove a temporary file that could not be finished: on a full volume it would keep the last room."""
    try:
        yield
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temp)
        raise


def link_or_copy(source: str, target: str) -> None:
    """Make `target` name the same bytes as `source`: a hard link, or a durable copy across two volumes."""
    try:
        os.link(source, target)
    except FileExistsError:
        return
    except OSError as error:
        if error.errno not in (errno.EXDEV, errno.EPERM, errno.EOPNOTSUPP, errno.EMLINK):
            raise
        temp = f"{target}.next"
        with _nothing_left(temp):
            with open(source, "rb") as src, open(temp, "wb") as dst:
                while chunk := src.read(1 << 20):
                    dst.write(chunk)
                dst.flush()
                os.fsync(dst.fileno())
            os.replace(temp, target)
