"""POSIX calls: synced appends, locks, and syncs of a whole file system.

Everything else reaches files through fsspec. Whatever must survive a power loss is here, because fsspec never syncs and
its transactions move files in from another folder. The calls are safe on any file system that gives POSIX rename, flock
and fsync semantics across the pods that share it (ext4, xfs, CephFS, NFSv4).
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import itertools
import os
import stat
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from fsspec.implementations.local import LocalFileSystem

from shared.errors import Busy, StorageFailed
from shared.failpoints import failpoint
from shared.rights import explained

_libc = ctypes.CDLL(None, use_errno=True)
MIN_FREE = 64 << 10  # bytes; with less a volume counts as full
_EXHAUSTED = frozenset((errno.EMFILE, errno.ENFILE, errno.ENOMEM))
_IOV_MAX = 1024  # Linux's UIO_MAXIOV: the most buffers one writev takes


class storage_errors:
    """Raise an OSError as `StorageFailed`; `what` names the operation.

    Where rights are missing, the text says which, and what to do.

    A class, because every segment passes here, and a generator costs three times as much.

    Raises:
        Busy: this process or machine has no descriptor or memory left. The volume has refused nothing.
        StorageFailed: any other OSError.
    """

    __slots__ = ("_what",)

    def __init__(self, what: str) -> None:
        self._what = what

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        if isinstance(error, OSError):
            if error.errno in _EXHAUSTED:
                raise Busy(f"{self._what}: {error.strerror}; send the request again.") from error
            text = f"{self._what}: {error.strerror or error}"
            if error.errno in (errno.EACCES, errno.EPERM) and isinstance(error.filename, str):
                text = explained(text, error.filename)
            raise StorageFailed(text) from error


def require_space(*paths: str) -> None:
    """Check that the file systems of `paths` take files: it costs one system call each and writes nothing.

    Raises:
        StorageFailed: a file system is read-only, has no inode left, or less than MIN_FREE bytes.
    """
    for path in paths:
        with storage_errors(path):
            found = os.statvfs(path)
        if found.f_flag & os.ST_RDONLY:
            raise StorageFailed(f"{path} is read-only; mount it for writing.")
        if found.f_bavail * found.f_frsize < MIN_FREE:
            raise StorageFailed(f"{path} is full; make room or enlarge the volume.")
        if found.f_files and not found.f_favail:
            raise StorageFailed(f"{path} has no inodes left; delete files or enlarge the volume.")


def open_beneath(folder: str, name: str) -> int:
    """Open the plain file `name` (which may contain folders) below `folder`, for reading.

    Symbolic links and `..` are refused at every step, so that a planted link cannot expose files outside.

    Raises:
        OSError: there is no such file, or it is not a plain file.
    """
    *folders, last = name.split("/")
    if not all(part not in ("", ".", "..") for part in (*folders, last)):
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), name)
    at = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        for part in folders:
            below = os.open(part, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=at)
            os.close(at)
            at = below
        return open_plain(last, at)
    finally:
        os.close(at)


def open_plain(path: str, folder: int | None = None) -> int:
    """Open a plain file for reading; the last step may not be a symbolic link, and a pipe is not waited for.

    Raises:
        OSError: there is no such file, or it is not a plain file.
    """
    fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=folder)
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise OSError(errno.EINVAL, "not a plain file", path)
    return fd


class AppendFile:
    """A file that grows at its end in synced groups; a group that fails leaves no trace.

    Not thread-safe: its owner serialises the calls.

    Attributes:
        path: the path it was opened by.
        fd: its descriptor.
        end: the offset behind the last group; everything before it is durable.
    """

    def __init__(self, path: str, *, create: bool = False) -> None:
        self.path = path
        flags = os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC
        self.fd = os.open(path, flags | (os.O_CREAT | os.O_EXCL if create else 0), 0o644)
        self.end = os.fstat(self.fd).st_size

    @property
    def name(self) -> str:
        """The path, for messages."""
        return self.path

    def fileno(self) -> int:
        """The descriptor, for reading."""
        return self.fd

    def append(
        self, buffers: Sequence[bytes | int], name: str, before_sync: Callable[[], object] = lambda: None
    ) -> int:
        """Write `buffers` at the end and make them durable; return the offset of the first byte.

        This `fdatasync` makes a payload durable, and a decision.

        Args:
            buffers: the bytes; a number leaves out so many, which then read as zeros or as the end of the file.
            name: prefix of the failpoints passed: `<name>.written` before the sync, `<name>.synced` after it.
            before_sync: called before the sync, when the bytes can be read.

        Raises:
            StorageFailed: the write or the sync failed; the file is as long as before.
        """
        start = self.end
        holes = int in map(type, buffers)
        try:
            end = self._write_around_holes(buffers, start) if holes else self._write(buffers, start)  # type: ignore[arg-type]
            failpoint(f"{name}.written")
            before_sync()
            if not holes or not all(isinstance(buffer, int) for buffer in buffers):
                os.fdatasync(self.fd)
        except OSError as error:
            # After a failed sync the kernel may have dropped the dirty pages while still showing them. Cutting the
            # group off makes a later append write every byte anew.
            with contextlib.suppress(OSError):
                os.ftruncate(self.fd, start)
            raise StorageFailed(f"{os.path.basename(self.path)}: {error.strerror}") from error
        self.end = end
        failpoint(f"{name}.synced")
        return start

    def _write_around_holes(self, buffers: Sequence[bytes | int], offset: int) -> int:
        for hole, together in itertools.groupby(buffers, lambda buffer: isinstance(buffer, int)):
            if hole:
                offset += sum(together)  # type: ignore[arg-type]
            else:
                offset = self._write(list(together), offset)  # type: ignore[arg-type]
        return offset

    def _write(self, buffers: Sequence[bytes], offset: int) -> int:
        for first in range(0, len(buffers), _IOV_MAX):
            part = buffers[first : first + _IOV_MAX]
            wanted = sum(map(len, part))
            written = os.pwritev(self.fd, part, offset)
            if written < wanted:  # a disk that fills up takes what fits; the rest fails or, rarely, fits after all
                view = memoryview(b"".join(part))
                while written < wanted:
                    written += os.pwrite(self.fd, view[written:], offset + written)
            offset += wanted
        return offset

    def truncate(self, end: int) -> None:
        """Cut the file at `end`, durably."""
        with storage_errors(self.path):
            os.ftruncate(self.fd, end)
            os.fdatasync(self.fd)
        self.end = end

    def close(self) -> None:
        """Close the descriptor, which releases its flock."""
        os.close(self.fd)


def same_file(fd: int, path: str) -> bool:
    """Whether `path` still names the file open as `fd` (an open file's inode number is never reused)."""
    try:
        named = os.stat(path)
    except FileNotFoundError:
        return False
    held = os.fstat(fd)
    return (named.st_dev, named.st_ino) == (held.st_dev, held.st_ino)


def try_lock(fd: int) -> bool:
    """Take the exclusive flock on `fd`; False if it is held elsewhere."""
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def is_locked(path: str) -> bool:
    """Whether the flock on the file at `path` is held; False where there is no such file."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(fd)
    return False


class file_lock:
    """Hold the exclusive flock on `fd`: between processes, and between pods where the file system carries it.

    Args:
        fd: an open descriptor; the lock belongs to it and dies with its process.
        timeout: seconds to wait for another holder.

    Raises:
        Busy: another process held the lock all that time.
    """

    __slots__ = ("_fd", "_timeout")

    def __init__(self, fd: int, timeout: float) -> None:
        self._fd = fd
        self._timeout = timeout

    def __enter__(self) -> None:
        if try_lock(self._fd):
            return
        deadline = time.monotonic() + self._timeout
        while not try_lock(self._fd):
            if time.monotonic() > deadline:
                raise Busy("Another writer holds the lock; send the request again.")
            time.sleep(0.001)

    def __exit__(self, *_: object) -> None:
        fcntl.flock(self._fd, fcntl.LOCK_UN)


@contextlib.contextmanager
def locked(path: str, timeout: float) -> Iterator[None]:
    """Hold the lock of the file at `path`, which is made where it is not there.

    Raises:
        OSError: it cannot be opened.
        Busy: another one held the lock for `timeout` seconds.
    """
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        with file_lock(fd, timeout):
            yield
    finally:
        os.close(fd)


def write_directly(fd: int, directly: bool) -> None:
    """Have writes to `fd` go around the page cache, or through it.

    Raises:
        OSError: EINVAL where the file system cannot.
    """
    flags = fcntl.fcntl(fd, fcntl.F_GETFL)
    fcntl.fcntl(fd, fcntl.F_SETFL, flags | os.O_DIRECT if directly else flags & ~os.O_DIRECT)


def fsync_directory(path: str) -> None:
    """Make a folder's entries durable."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def sync_filesystem(path: str) -> None:
    """Make everything on the file system of `path` durable, in one call instead of a sync per file.

    Raises:
        StorageFailed: the kernel reports that something could not be written back, or the path cannot be opened.
        Busy: as `storage_errors`.
    """
    with storage_errors(f"syncing {path}"):
        fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        if _libc.syncfs(fd) != 0:
            number = ctypes.get_errno()
            raise StorageFailed(f"syncfs {path}: {os.strerror(number)}")
    finally:
        os.close(fd)


class PosixFileSystem(LocalFileSystem):
    """fsspec's local file system, with the write path's calls made direct: one write, one rename.

    None of them syncs unless asked to, and `pipe_file` is not atomic: visible files are written elsewhere and moved.
    """

    protocol = "dtposix"

    def pipe_file(self, path: str, value: bytes, mode: str = "overwrite", **_: Any) -> None:
        """Write a whole file; with mode "create" it must not exist. A file that cannot be written whole is removed."""
        flags = os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        fd = os.open(path, flags | (os.O_EXCL if mode == "create" else os.O_TRUNC), 0o644)
        try:
            written = os.write(fd, value)
            while written < len(value):
                written += os.write(fd, memoryview(value)[written:])
        except OSError:
            os.unlink(path)
            raise
        finally:
            os.close(fd)

    def overwrite(self, path: str, value: bytes) -> None:
        """Overwrite a file's first bytes in place; a reader at that moment may see old and new bytes mixed."""
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)
        try:
            if os.pwrite(fd, value, 0) < len(value):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), path)
        finally:
            os.close(fd)

    def cat_file(self, path: str, start: int | None = None, end: int | None = None, **_: Any) -> bytes:
        """A plain file's content, from `start` to `end`; not through a symbolic link."""
        with open(open_plain(path), "rb") as file:
            return file.read()[start:end]

    def mv(self, path1: str, path2: str, **_: Any) -> None:
        """Rename `path1` to `path2`, replacing it."""
        os.rename(path1, path2)
