"""A tar file made while it is sent: its size is known before, and it can be read from any offset on."""

from __future__ import annotations

import tarfile
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from typing import BinaryIO, NamedTuple

_BLOCK = tarfile.BLOCKSIZE
_CHUNK = 1 << 18


_NAME, _SIZE, _CHECKSUM = 100, slice(124, 136), slice(148, 156)  # of a header


def header(name: str, size: int) -> bytes:
    """The header of a plain file, without time and owner."""
    if len(name) > _NAME or not name.isascii() or size >= 8**11:
        return _header(name, size)
    filled = bytearray(_TEMPLATE)  # a tenth of the time
    filled[: len(name)] = name.encode()
    filled[_SIZE] = b"%011o\0" % size
    filled[_CHECKSUM] = b"%06o\0 " % sum(filled)
    return bytes(filled)


def _header(name: str, size: int) -> bytes:
    info = tarfile.TarInfo(name)
    info.size = size
    info.mode = 0o644
    return info.tobuf(tarfile.PAX_FORMAT)


_TEMPLATE = bytearray(_header("", 0))
_TEMPLATE[_CHECKSUM] = b" " * 8  # as it is summed up


def padding(size: int) -> bytes:
    """What follows a file's content up to the next header."""
    return bytes(-size % _BLOCK)


END = bytes(2 * _BLOCK)
"""What ends a tar file."""


class _Piece(NamedTuple):
    """Bytes of the tar file: `header` bytes, or those of a file."""

    offset: int
    size: int
    content: bytes
    file: str


class Tar:
    """A tar file of plain files, without times and owners, so that the same files give the same bytes.

    Args:
        entries: for each file its name in the tar file, its size in bytes, and its name for `reader`.
        reader: opens a file.

    Attributes:
        size: in bytes.
    """

    def __init__(self, entries: Sequence[tuple[str, int, str]], reader: Callable[[str], BinaryIO]) -> None:
        self._reader = reader
        self._pieces: list[_Piece] = []
        self.size = 0
        for name, size, file in entries:
            head = header(name, size)
            self._add(len(head), head)
            self._add(size, file=file)
            self._add(-size % _BLOCK, padding(size))
        self._add(len(END), END)

    def _add(self, size: int, content: bytes = b"", file: str = "") -> None:
        if size:
            self._pieces.append(_Piece(self.size, size, content, file))
            self.size += size

    def read(self, start: int = 0, stop: int | None = None) -> Iterator[bytes]:
        """The bytes from `start` to before `stop`.

        Raises:
            OSError: a file cannot be read, or is shorter than it should be.
        """
        stop = self.size if stop is None else stop
        first = bisect_right(self._pieces, start, key=lambda piece: piece.offset) - 1
        for piece in self._pieces[max(first, 0) :]:
            low, high = max(start, piece.offset) - piece.offset, min(stop, piece.offset + piece.size) - piece.offset
            if low >= high:
                return
            if piece.file:
                yield from self._file(piece.file, low, high)
            else:
                yield piece.content[low:high]

    def _file(self, name: str, low: int, high: int) -> Iterator[bytes]:
        with self._reader(name) as file:
            file.seek(low)
            while low < high:
                chunk = file.read(min(_CHUNK, high - low))
                if not chunk:
                    raise OSError(f"{name} is shorter than its manifest says")
                low += len(chunk)
                yield chunk
