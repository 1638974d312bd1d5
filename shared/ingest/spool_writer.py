"""The spool: payloads made durable together, one sync a group, before anything is decided about them.

A spool belongs to one ingest process, which holds its flock for as long as it may append. It is nothing but
payload bytes one after another: the journal says where each begins and what its checksum is, so a torn tail is
simply never referred to. Once its owner is done with it, the writer trims it: files synced, spool removed.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import zlib
from collections.abc import Sequence
from typing import NamedTuple

from shared.errors import StorageFailed
from shared.ingest.stager import Stager
from shared.volume.layout import Volume
from shared.volume.posix import AppendFile, fsync_directory, same_file, storage_errors, try_lock

_PIECE = 5 << 10


class SpoolPosition(NamedTuple):
    """Where a payload was made durable."""

    spool: str
    offset: int
    size: int
    crc32: int  # CRC-32 of the payload


class SpoolWriter:
    """The growing end of an ingest process's payloads. Not thread-safe: one thread appends."""

    def __init__(self, volume: Volume) -> None:
        self._volume = volume
        self._id = ""
        self._file: AppendFile | None = None
        self._stager = Stager(volume)

    def store(self, payloads: Sequence[bytes]) -> list[SpoolPosition | StorageFailed]:
        """Make all payloads durable with one sync, and stage each as a file.

        Returns:
            For each payload its place, or why it could not be staged; what the spool holds of such a one is never
            referred to.

        Raises:
            StorageFailed: the spool could not be written or synced; nothing of the group is left.
        """
        file = self._open()
        at = file.end
        places: list[SpoolPosition] = []
        for payload in payloads:
            places.append(SpoolPosition(self._id, at, len(payload), _checksum(payload)))
            at += len(payload)
        group = [(place.spool, place.offset, payload) for place, payload in zip(places, payloads, strict=True)]
        try:
            file.append(payloads, "spool", lambda: self._stager.start(group))
        except StorageFailed:
            self._stager.finish()
            for place in places:
                self._volume.discard(place.spool, place.offset)
            raise
        return [failure or place for failure, place in zip(self._stager.finish(), places, strict=True)]

    def abandon(self) -> None:
        """Give the spool up, and have nothing decided from it any more, however late a writer hears of it."""
        if self._file is not None:
            with contextlib.suppress(OSError):
                self._volume.fs.mv(self._file.path, self._volume.spool_path(self._id, closed=True))
        self._give_up()

    def close(self) -> None:
        """Give the spool up; the writer may trim it."""
        self._give_up()
        self._stager.close()

    def _give_up(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    def _open(self) -> AppendFile:
        if self._file is not None and self._file.end < self._volume.config.spool_size:
            return self._file
        self._give_up()
        with storage_errors("opening a spool"):
            while True:
                spool = secrets.token_hex(8)
                path = self._volume.spool_path(spool)
                file = AppendFile(path, create=True)
                if try_lock(file.fd) and same_file(file.fd, path):
                    break
                file.close()  # in the instant before it was locked a trim took it for abandoned
            fsync_directory(os.path.dirname(path))
        self._id, self._file = spool, file
        return file


def read_payload(path: str, at: int, size: int, checksum: int) -> bytes | None:
    """The payload at a place of a spool file; None where the spool does not hold it whole."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        payload = os.pread(fd, size, at)
    finally:
        os.close(fd)
    return payload if len(payload) == size and zlib.crc32(payload) == checksum else None


def _checksum(payload: bytes) -> int:
    """CRC-32, piece by piece: zlib gives the interpreter away for more than 5 kB, and takes long to get it back."""
    whole = memoryview(payload)
    checksum = 0
    for start in range(0, len(whole), _PIECE):
        checksum = zlib.crc32(whole[start : start + _PIECE], checksum)
    return checksum
