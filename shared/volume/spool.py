"""The spool: payloads made durable before anything is decided about them, and the staged files made of them.

A spool file is payload bytes one after another, without framing. A long payload is not copied there. It leaves a hole
of its length, and its staged payload is made durable instead. The journal holds the position and the checksum of
each payload, so a torn tail is never referred to. Beside it wait the staged payloads, `<spool>.<offset>`, which the
writer renames into `data/`. A spool file is `.log` while its ingest process may append, `.closed` while the writer
trims it.
"""

from __future__ import annotations

import contextlib
import os
import re

import msgspec

from shared.checksum import crc32_of
from shared.errors import StorageFailed
from shared.volume.layout import Layout
from shared.volume.long_file import create_durable
from shared.volume.posix import PosixFileSystem, storage_errors, try_lock

_SPOOL_ID = re.compile(r"[0-9a-f]{16}")


class SpoolPosition(msgspec.Struct, gc=False, frozen=True):
    """Where a payload was made durable: spool, offset, size in bytes, and CRC-32 of the payload."""

    spool: str
    offset: int
    size: int
    crc32: int


class SpoolDirectory:
    """The spool files and staged payloads of a volume. Safe to use from several threads."""

    def __init__(self, layout: Layout) -> None:
        self._fs = PosixFileSystem()
        self._root = layout.spool

    @property
    def path(self) -> str:
        """The folder."""
        return self._root

    # -- staged payloads --------------------------------------------------------------------------------------

    def staged(self, spool: str, offset: int | str) -> str:
        """Path of the staged payload from this position: whole, synced if it is long, to be renamed into `data/`."""
        return f"{self._root}/{spool}.{offset}"

    def stage(self, spool: str, offset: int, payload: bytes, *, sync: bool = False) -> None:
        """Write a staged payload; with `sync` its content is durable, and its name after a sync of the folder.

        Raises:
            StorageFailed: no space, or the volume is read-only; nothing is left behind.
        """
        with storage_errors("staging a segment"):
            if sync:
                create_durable(self.staged(spool, offset), payload)
            else:
                self._fs.pipe_file(self.staged(spool, offset), payload, mode="create")

    def discard(self, spool: str, offset: int) -> None:
        """Remove a staged payload that is not to be published; it may be gone."""
        with contextlib.suppress(OSError):
            self._fs.rm_file(self.staged(spool, offset))

    # -- spool files ------------------------------------------------------------------------------------------

    def file(self, spool: str, *, closed: bool = False) -> str:
        """Path of a spool file.

        Raises:
            ValueError: `spool` is not a spool's id. Ids arrive over HTTP and must never name another path.
        """
        if not _SPOOL_ID.fullmatch(spool):
            raise ValueError(f"not a spool id: {spool!r}")
        return os.path.join(self._root, spool + (".closed" if closed else ".log"))

    def accepts(self, spool: str) -> bool:
        """Whether payloads may be committed from this spool: it exists and is not closed."""
        try:
            return os.path.exists(self.file(spool))
        except ValueError:
            return False

    def files(self) -> dict[str, str]:
        """Every spool file on the volume: id -> path."""
        return {
            name.split(".")[0]: os.path.join(self._root, name)
            for name in self._names()
            if name.endswith((".log", ".closed"))
        }

    def close(self, spool: str) -> None:
        """Close a spool file: nothing is committed from it any more."""
        os.rename(self.file(spool), self.file(spool, closed=True))

    def close_abandoned(self) -> list[str]:
        """Close every spool file whose ingest process is gone or done; the ids of all closed ones."""
        closed = []
        for spool, path in self.files().items():
            if path.endswith(".log"):
                try:
                    fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
                except FileNotFoundError:  # another writer trims too
                    continue
                try:
                    if not try_lock(fd):
                        continue
                    self.close(spool)
                finally:
                    os.close(fd)
            closed.append(spool)
        return closed

    def remove(self, spool: str) -> None:
        """Remove a closed spool file and what is still staged from it.

        Raises:
            StorageFailed: the volume refuses.
        """
        staged = [
            os.path.join(self._root, name)
            for name in self._names()
            if name.startswith(f"{spool}.") and not name.endswith((".log", ".closed"))
        ]
        for path in (*staged, self.file(spool, closed=True)):
            with storage_errors("removing a spool file"), contextlib.suppress(FileNotFoundError):  # others trim too
                self._fs.rm_file(path)

    def _names(self) -> list[str]:
        return os.listdir(self._root)


def read_payload(path: str, offset: int, size: int, crc32: int) -> bytes | None:
    """The payload at a position of a spool file; None where the file does not hold it whole.

    Raises:
        StorageFailed: the file cannot be read.
    """
    try:
        with open(path, "rb", buffering=0) as file:
            payload = os.pread(file.fileno(), size, offset)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise StorageFailed(f"{path}: {error.strerror}") from error
    return payload if len(payload) == size and crc32_of(payload) == crc32 else None
