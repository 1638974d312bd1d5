"""Writing the spool: payloads made durable together, one `fdatasync` a group (`posix.AppendFile.append`).

Long payloads are written once. The staged file of each is synced, and the spool keeps a hole in its place, so that
positions stay unique and in order.

A spool file belongs to one ingest process, which holds its flock for as long as it may append. When ingest is done with
it, the writer trims it: the payloads' files are synced, and the spool file is removed.
"""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Sequence

from shared.checksum import crc32_of
from shared.config import StoreConfig
from shared.errors import StorageFailed
from shared.failpoints import failpoint
from shared.ingest.stager import Stager
from shared.volume.layout import Layout
from shared.volume.posix import AppendFile, fsync_directory, same_file, storage_errors, try_lock
from shared.volume.spool import SpoolDirectory, SpoolPosition

_PIECE = 5 << 10
_LONG = 256 << 10  # bytes; a checksum of more takes longer than to get the lock back


class SpoolWriter:
    """Appends an ingest process's payloads to its spool file. Not thread-safe: one thread appends.

    Args:
        spool: the volume's spool directory.
        max_size: bytes after which another spool file is begun.
        stager: makes files of the payloads.
        write_once: payloads of so many bytes or more are long.
    """

    def __init__(self, spool: SpoolDirectory, max_size: int, stager: Stager, write_once: int = 1 << 62) -> None:
        self._spool = spool
        self._max_size = max_size
        self._stager = stager
        self._write_once = write_once
        self._id = ""
        self._file: AppendFile | None = None

    @classmethod
    def from_config(cls, config: StoreConfig) -> SpoolWriter:
        """The spool writer of a store."""
        spool = SpoolDirectory(Layout(config))
        return cls(spool, config.spool_size, Stager(spool, config.stager_threshold), config.write_once)

    def store(self, payloads: Sequence[bytes]) -> list[SpoolPosition | StorageFailed]:
        """Make all payloads durable with one sync, and stage each as a file.

        Returns:
            For each payload its position, or the reason why it could not be staged. The journal never refers to the
            spooled bytes of such a payload.

        Raises:
            StorageFailed: the spool could not be written or synced; nothing of the group is left.
        """
        file = self._open()
        offset = file.end
        positions: list[SpoolPosition] = []
        for payload in payloads:
            positions.append(SpoolPosition(self._id, offset, len(payload), _checksum(payload)))
            offset += len(payload)
        group = [(p.spool, p.offset, payload) for p, payload in zip(positions, payloads, strict=True)]
        longest = max(map(len, payloads), default=0)
        long = [member for member in group if len(member[2]) >= self._write_once] if longest >= self._write_once else []
        failed: dict[int, StorageFailed] = {}
        try:
            if not long:
                file.append(payloads, "spool", lambda: self._stager.start(group))
            else:
                short = [member for member in group if len(member[2]) < self._write_once]
                buffers = [len(p) if len(p) >= self._write_once else p for p in payloads]

                def stage() -> None:
                    self._stager.start(short, contiguous=False)
                    failed.update(self._stage_long(long))

                file.append(buffers, "spool", stage)
                group = short
        except StorageFailed:
            self._stager.finish()
            for p in positions:
                self._spool.discard(p.spool, p.offset)
            raise
        failures = self._stager.finish()
        if any(failures):
            failed |= {offset: f for (_, offset, _), f in zip(group, failures, strict=True) if f is not None}
        return [failed.get(p.offset, p) for p in positions] if failed else list(positions)

    def _stage_long(self, group: Sequence[tuple[str, int, bytes]]) -> dict[int, StorageFailed]:
        """Stage payloads durably; the offsets of those that could not be, with the reasons."""
        failed: dict[int, StorageFailed] = {}
        for spool, offset, payload in group:
            try:
                self._spool.stage(spool, offset, payload, sync=True)
            except StorageFailed as error:
                failed[offset] = error
        if len(failed) < len(group):
            failpoint("spool.long")
            with storage_errors("syncing the spool's folder"):
                fsync_directory(self._spool.path)
        return failed

    def abandon(self) -> None:
        """Close the spool file for good: nothing is decided from it any more, however late a writer hears of it."""
        if self._file is not None:
            with contextlib.suppress(OSError):
                self._spool.close(self._id)
        self._release()

    def close(self) -> None:
        """Release the spool file, so that the writer may trim it, and end the stager."""
        self._release()
        self._stager.close()

    def _release(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    def _open(self) -> AppendFile:
        if self._file is not None and self._file.end < self._max_size:
            return self._file
        self._release()
        with storage_errors("opening a spool file"):
            while True:
                spool = secrets.token_hex(8)
                path = self._spool.file(spool)
                file = AppendFile(path, create=True)
                if try_lock(file.fd) and same_file(file.fd, path):
                    break
                file.close()  # a trim took it for abandoned, in the instant before it was locked
            fsync_directory(self._spool.path)
        self._id, self._file = spool, file
        return file


def _checksum(payload: bytes) -> int:
    """CRC-32 in pieces: above 5 kB it releases the interpreter lock, and getting it back takes long."""
    if len(payload) >= _LONG:
        return crc32_of(payload)
    whole = memoryview(payload)
    crc32 = 0
    for start in range(0, len(whole), _PIECE):
        crc32 = crc32_of(whole[start : start + _PIECE], crc32)
    return crc32
