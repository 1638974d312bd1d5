"""The tally: how many segments of which batch are acknowledged, for those who read a store without being its writer.

It changes with every group, and is overwritten where it stands. To replace a file by renaming costs the file system as
much as a sync does (ext4 writes the new one's content out first), and the views, which are replaced, would make that
a third one in the way of every answer; so they follow a moment later, and who must be exact reads the tally. Nobody
ever takes half of it for the whole: it carries its own checksum.
"""

from __future__ import annotations

import struct
import time
import zlib
from typing import NamedTuple

from shared.errors import Recovering, StorageFailed
from shared.volume.posix import PosixFileSystem, storage_errors

_COUNTS = struct.Struct("<QQQ")
_SUM = struct.Struct("<I")
_ATTEMPTS = 100
_fs = PosixFileSystem()


class Counters(NamedTuple):
    """The number of a batch, its segments, and their bytes."""

    batch: int
    segments: int
    bytes: int

    @property
    def stat(self) -> dict[str, object]:
        """What /stat says."""
        return {"n_itm": self.segments, "buff_size": self.bytes}


def write(path: str, tally: Counters) -> None:
    """Put the tally in place, unsynced: the writer writes it anew when it starts.

    Raises:
        StorageFailed: the volume does not take it.
    """
    counts = _COUNTS.pack(*tally)
    with storage_errors("writing the tally"):
        _fs.overwrite(path, counts + _SUM.pack(zlib.crc32(counts)))


def read(path: str) -> Counters:
    """The tally in place.

    Raises:
        Recovering: there is none, or none that is whole: the store is starting.
        StorageFailed: it cannot be read.
    """
    for _ in range(_ATTEMPTS):
        try:
            found = _fs.cat_file(path)
        except FileNotFoundError:
            break
        except OSError as error:
            raise StorageFailed(f"the tally: {error.strerror}") from error
        counts, checksum = found[: _COUNTS.size], found[_COUNTS.size :]
        if checksum == _SUM.pack(zlib.crc32(counts)) and len(counts) == _COUNTS.size:
            return Counters(*_COUNTS.unpack(counts))
        time.sleep(0)  # it is being overwritten at this moment
    raise Recovering("The store has not published its counts yet.")
