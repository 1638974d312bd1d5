"""Reading samples from the files of a batch. The one place that knows what is in a file."""

from __future__ import annotations

import os
import threading
from array import array
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from shared.archives.batch_files import BatchFiles, Where
from shared.checksum import crc32_of
from shared.domain import block
from shared.errors import BadSegment, NotFrozen, SegmentDamaged, StorageFailed
from shared.volume.posix import storage_errors

_VERIFIED = 1 << 16  # blocks that are remembered as verified: 300 bytes each
_CHUNK = 1 << 18  # bytes
_verified: dict[tuple[int, ...], None] = {}
_remembering = threading.Lock()


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

    Args:
        where: the folder; its path will do where no files lie elsewhere.
        memory: bytes of decoded samples to keep, for one who reads the same files again. The last file's are kept in
            any case.

    Raises, when made:
        NotFrozen: there is no such folder: the batch is being archived.
        StorageFailed: it cannot be opened.
    """

    def __init__(self, where: Where | str, memory: int = 0) -> None:
        path, remote = where if isinstance(where, Where) else Where(where)
        with storage_errors(path):
            try:
                self._files = BatchFiles(path, remote)
            except FileNotFoundError:
                raise NotFrozen(f"{path} is gone: the batch has been archived.") from None
        self._memory = memory
        self._content = "", block.Reader(b"")  # of the last file
        self._last: tuple[object, Sequence[float]] = (None, ())
        self._kept: OrderedDict[object, array[float]] = OrderedDict()
        self._kept_bytes = 0

    def samples(self, part: FileSlice) -> Sequence[float]:
        """The samples of a slice.

        Raises:
            NotFrozen: the file is not in the folder any more.
            StorageFailed, RemoteFailed: it cannot be read.
            SegmentDamaged: it is not what was stored.
        """
        key = (part.name, part.run)
        if self._last[0] != key:  # a file is often cut in several slices
            self._last = key, self._remembered(key, part) if self._memory else self._read(part)
        samples = self._last[1]
        if part.skip + part.n > len(samples):
            raise SegmentDamaged(f"{part.name}: holds {len(samples)} samples; restore it from a backup")
        return samples if part.n == len(samples) else samples[part.skip : part.skip + part.n]

    def _remembered(self, key: object, part: FileSlice) -> array[float]:
        """All samples of a slice's run, kept until others that were used since fill the memory."""
        found = self._kept.get(key)
        if found is not None:
            self._kept.move_to_end(key)
            return found
        read = self._read(part)
        found = self._kept[key] = read if isinstance(read, array) else array("d", read)
        self._kept_bytes += 8 * len(found)
        while self._kept_bytes > self._memory:
            _, oldest = self._kept.popitem(last=False)
            self._kept_bytes -= 8 * len(oldest)
        return found

    def _read(self, part: FileSlice) -> Sequence[float]:
        name = part.name
        try:
            if self._content[0] == name:  # a block, of which another channel has been read
                return self._content[1].samples(*part.run)
            content = self._verified(part)
            self._content = name, block.Reader(content)
            return self._content[1].samples(*part.run)
        except FileNotFoundError:
            raise NotFrozen(f"{name} is gone: the batch has been archived.") from None
        except (OSError, BadSegment) as error:
            raise StorageFailed(f"{name}: {error}") from error

    def _verified(self, part: FileSlice) -> bytes | _ArrowFile:
        """The content of a slice's file, whose checksum has been compared."""
        fd = self._files.open(part.name)
        if fd is None:
            content = self._files.read_elsewhere(part.name)
        else:
            with open(fd, "rb", buffering=0) as file:
                if block.is_arrow(os.pread(fd, 4, 0)):
                    arrow = _ArrowFile(os.dup(fd))
                    arrow.verify(part)
                    return arrow
                content = file.read()
        if part.crc32 >= 0 and crc32_of(content) != part.crc32:
            raise _altered(part)
        return content


class Wanted(NamedTuple):
    """Samples to read: the slice, its folder, and where they belong: in `into` from its number `offset` on."""

    folder: DataFolder
    slice: FileSlice
    into: array[float]
    offset: int


def read_all(wanted: Iterable[Wanted]) -> None:
    """Read slices in the order of their files, so that a block is read once for all its channels.

    Raises:
        NotFrozen, StorageFailed, SegmentDamaged: as `DataFolder.samples`.
    """
    for folder, slice, into, offset in sorted(wanted, key=lambda one: one.slice.name):
        samples = folder.samples(slice)
        into[offset : offset + slice.n] = samples if isinstance(samples, array) else array("d", samples)


class _ArrowFile:
    """An Arrow block's file, of which only the bytes of the channels that are asked for are read.

    Args:
        fd: of the file; it is closed with the object.
    """

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._length = os.fstat(fd).st_size

    def __del__(self) -> None:
        """Close the file."""
        os.close(self._fd)

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, part: slice) -> bytes:
        first, stop, _ = part.indices(self._length)
        content = os.pread(self._fd, max(stop - first, 0), first)
        if len(content) < stop - first:
            raise BadSegment("the file has become shorter")
        return content

    def verify(self, part: FileSlice) -> None:
        """Compare the checksum of the whole file, if this process has not yet, or the file has changed since.

        Raises:
            SegmentDamaged: it differs.
        """
        status = os.fstat(self._fd)
        known = (status.st_dev, status.st_ino, status.st_mtime_ns, status.st_ctime_ns, status.st_size, part.crc32)
        if part.crc32 < 0 or known in _verified:
            return
        crc32 = 0
        for first in range(0, self._length, _CHUNK):
            crc32 = crc32_of(self[first : first + _CHUNK], crc32)
        if crc32 != part.crc32:
            raise _altered(part)
        with _remembering:
            while len(_verified) >= _VERIFIED:
                del _verified[next(iter(_verified))]
            _verified[known] = None


def _altered(part: FileSlice) -> SegmentDamaged:
    return SegmentDamaged(f"{part.name}: its checksum differs; restore it from a backup")
