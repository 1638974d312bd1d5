"""Reading samples from the files of a batch. The one place that knows what is in a file."""

from __future__ import annotations

import os
import zlib
from collections.abc import Sequence
from typing import NamedTuple

from shared.domain.segment import samples as decode_samples
from shared.errors import BadSegment, NotFrozen, SegmentDamaged, StorageFailed
from shared.volume.posix import open_plain, storage_errors


class FileSlice(NamedTuple):
    """Samples of one channel in one file: `n` of them from number `skip` on.

    `crc32` is the file's, -1 where it is not known. `channel` is empty where the file holds one channel.
    """

    name: str
    skip: int
    n: int
    crc32: int = -1
    channel: str = ""


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
        self._last: tuple[tuple[str, str], Sequence[float]] = (("", ""), ())

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
        key = (part.name, part.channel)
        if self._last[0] != key:  # a file is often cut in several slices
            self._last = key, self._read(part)
        samples = self._last[1]
        if part.skip + part.n > len(samples):
            raise SegmentDamaged(f"{part.name}: holds {len(samples)} samples; restore it from a backup")
        return samples if part.n == len(samples) else samples[part.skip : part.skip + part.n]

    def _read(self, part: FileSlice) -> Sequence[float]:
        name = part.name
        try:
            with open(open_plain(name, self._fd), "rb", buffering=0) as file:
                content = file.read()
            if part.crc32 >= 0 and zlib.crc32(content) != part.crc32:
                raise SegmentDamaged(f"{name}: its checksum differs; restore it from a backup")
            return decode_samples(content)
        except FileNotFoundError:
            raise NotFrozen(f"{name} is gone: the batch has been archived.") from None
        except (OSError, BadSegment) as error:
            raise StorageFailed(f"{name}: {error}") from error
