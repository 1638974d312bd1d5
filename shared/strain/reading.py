"""Reading samples from the files of a batch. The one place that knows what is in a file."""

from __future__ import annotations

import os
import zlib
from collections.abc import Sequence
from typing import NamedTuple

from shared.domain import block
from shared.errors import BadSegment, NotFrozen, SegmentDamaged, StorageFailed
from shared.volume.posix import open_plain, storage_errors

_LONG = 64 << 10  # bytes; a longer file is a block, and read once for each of its channels
_verified: set[tuple[int, ...]] = set()  # longer files whose checksum this process has compared


class FileSlice(NamedTuple):
    """Samples of one channel in one file: `n` of them from number `skip` on.

    `run` is the detector, channel and first GPS time of the run in the file that they belong to; it is not needed
    where the file is a segment. `crc32` is the file's, -1 where it is not known.
    """

    name: str
    skip: int
    n: int
    crc32: int = -1
    run: tuple[str, str, float] = ("", "", 0.0)


class DataFolder:
    """The files of a batch. The folder stays open, so that it is the same one when the batch is archived meanwhile.

    Raises, when made:
        NotFrozen: there is no such folder: the batch is being archived.
        StorageFailed: it cannot be opened.
    """

    def __init__(self, path: str) -> None:
        self._fd = -1
        with storage_errors(path):
            try:
                self._fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
            except FileNotFoundError:
                raise NotFrozen(f"{path} is gone: the batch has been archived.") from None
        self._content = "", b""  # the last file
        self._last: tuple[object, Sequence[float]] = (None, ())

    def __del__(self) -> None:
        """Close the folder."""
        if self._fd >= 0:
            os.close(self._fd)

    def samples(self, part: FileSlice) -> Sequence[float]:
        """The samples of a slice.

        Raises:
            NotFrozen: the file is not in the folder any more.
            StorageFailed: it cannot be read.
            SegmentDamaged: it is not what was stored.
        """
        key = (part.name, part.run)
        if self._last[0] != key:  # a file is often cut in several slices
            self._last = key, self._read(part)
        samples = self._last[1]
        if part.skip + part.n > len(samples):
            raise SegmentDamaged(f"{part.name}: holds {len(samples)} samples; restore it from a backup")
        return samples if part.n == len(samples) else samples[part.skip : part.skip + part.n]

    def _read(self, part: FileSlice) -> Sequence[float]:
        name = part.name
        try:
            if self._content[0] == name:  # a block, of which another channel has been read
                return block.samples(self._content[1], *part.run)
            with open(open_plain(name, self._fd), "rb", buffering=0) as file:
                content = file.read()
                status = os.fstat(file.fileno())
            known = (status.st_dev, status.st_ino, status.st_mtime_ns, status.st_size, part.crc32)
            if part.crc32 >= 0 and known not in _verified:
                if zlib.crc32(content) != part.crc32:
                    raise SegmentDamaged(f"{name}: its checksum differs; restore it from a backup")
                if len(content) > _LONG:
                    _verified.add(known)
            self._content = name, content
            return block.samples(content, *part.run)
        except FileNotFoundError:
            raise NotFrozen(f"{name} is gone: the batch has been archived.") from None
        except (OSError, BadSegment) as error:
            raise StorageFailed(f"{name}: {error}") from error
