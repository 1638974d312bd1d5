"""The counters: how many segments, and how many bytes, of which batch are acknowledged.

Readers that are not the writer need exact counts. The writer overwrites this file in place with every group.
Replacing it by a rename would cost as much as a sync, because ext4 writes the new file's content out first. The views,
which are replaced, are therefore updated later; readers that need exact counts use this file. Its checksum exposes a
half-written value.

Format: batch, segments, bytes as 64-bit little-endian numbers, then the CRC-32 of these 24 bytes, little-endian.
"""

from __future__ import annotations

import os
import struct
import time
from typing import NamedTuple

from shared.checksum import crc32_of
from shared.errors import Recovering, StorageFailed
from shared.rights import explained
from shared.volume.posix import PosixFileSystem, open_plain, storage_errors

_COUNTS = struct.Struct("<QQQ")
_CRC32 = struct.Struct("<I")
_ATTEMPTS, _LONGER = 100, 1e-5  # seconds that each waits longer: 50 ms in all
_fs = PosixFileSystem()


class Counters(NamedTuple):
    """The number of a batch, its segments, and their bytes."""

    batch: int
    segments: int
    bytes: int

    @property
    def stat(self) -> dict[str, object]:
        """The counts as /stat shows them."""
        return {"n_itm": self.segments, "buff_size": self.bytes}


def write(path: str, counters: Counters) -> None:
    """Overwrite the counters; unsynced, because the writer writes them anew when it starts.

    Raises:
        StorageFailed: the volume refuses.
    """
    counts = _COUNTS.pack(*counters)
    with storage_errors("writing the counters"):
        _fs.overwrite(path, counts + _CRC32.pack(crc32_of(counts)))


def read(path: str) -> Counters:
    """The counters in place.

    Raises:
        Recovering: there are none, or none that are whole: the store is starting.
        StorageFailed: they cannot be read.
    """
    for attempt in range(_ATTEMPTS):
        try:
            found = _read(path)
        except FileNotFoundError:
            break
        except OSError as error:
            raise StorageFailed(explained(f"{path}: {error.strerror}", path)) from error
        counts, crc32 = found[: _COUNTS.size], found[_COUNTS.size :]
        if crc32 == _CRC32.pack(crc32_of(counts)) and len(counts) == _COUNTS.size:
            return Counters(*_COUNTS.unpack(counts))
        # It is being overwritten at this moment, by a process that may have to wait for a processor.
        time.sleep(attempt * _LONGER)
    raise Recovering(explained("The store has not published its counts yet.", path))


def _read(path: str) -> bytes:
    fd = open_plain(path)  # without a file object, because /stat reads them for each request
    try:
        return os.read(fd, _COUNTS.size + _CRC32.size + 1)
    finally:
        os.close(fd)
