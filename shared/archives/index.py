"""The index of an archive: where in its pieces each segment lies.

Format, little-endian: the 8 bytes `gwindex1`, the number of segments as u64, then five columns: numbers in the file
names (u64), offsets (u64) and sizes (u64) in bytes, numbers of the pieces (u32), CRC-32 (u32).
"""

from __future__ import annotations

import sys
from array import array
from bisect import bisect_left
from collections.abc import Iterator
from typing import NamedTuple

_MAGIC = b"gwindex1"
_TYPES = "QQQII"


class Row(NamedTuple):
    """A segment: the number in its file name, its piece, offset and size there in bytes, its CRC-32."""

    number: int
    piece: int
    offset: int
    size: int
    crc32: int


class Index:
    """The rows of an archive, in order of arrival, which is that of the numbers."""

    def __init__(self) -> None:
        self._numbers, self._offsets, self._sizes, self._pieces, self._crc32s = (array(code) for code in _TYPES)

    def __len__(self) -> int:
        """The number of segments."""
        return len(self._numbers)

    def add(self, row: Row) -> None:
        """Append a row; its number must be higher than the one before."""
        self._numbers.append(row.number)
        self._offsets.append(row.offset)
        self._sizes.append(row.size)
        self._pieces.append(row.piece)
        self._crc32s.append(row.crc32)

    def row(self, at: int) -> Row:
        """The row at a position."""
        return Row(self._numbers[at], self._pieces[at], self._offsets[at], self._sizes[at], self._crc32s[at])

    def rows(self) -> Iterator[Row]:
        """All rows."""
        return map(self.row, range(len(self)))

    def rows_from(self, first: int) -> Iterator[Row]:
        """The rows from a position on."""
        return map(self.row, range(first, len(self)))

    def find(self, number: int) -> Row | None:
        """The row of a segment; None where there is none."""
        at = bisect_left(self._numbers, number)
        return self.row(at) if at < len(self) and self._numbers[at] == number else None

    def encode(self) -> bytes:
        """The index as an object."""
        columns = (self._numbers, self._offsets, self._sizes, self._pieces, self._crc32s)
        if sys.byteorder == "big":
            columns = tuple(array(column.typecode, column) for column in columns)  # type: ignore[assignment]
            for column in columns:
                column.byteswap()
        return b"".join((_MAGIC, len(self).to_bytes(8, "little"), *(column.tobytes() for column in columns)))

    @classmethod
    def decode(cls, content: bytes) -> Index:
        """The inverse of `encode`.

        Raises:
            ValueError: it is no index.
        """
        found = cls()
        columns = (found._numbers, found._offsets, found._sizes, found._pieces, found._crc32s)
        count = int.from_bytes(content[8:16], "little")
        if content[:8] != _MAGIC or len(content) != 16 + count * sum(column.itemsize for column in columns):
            raise ValueError("this is no index of an archive")
        position = 16
        for column in columns:
            size = count * column.itemsize
            column.frombytes(content[position : position + size])
            position += size
            if sys.byteorder == "big":
                column.byteswap()
        return found
