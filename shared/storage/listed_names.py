"""The names of a batch. The first ones are kept encoded, because clients ask for whole lists again and again."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import NamedTuple

from shared.checksum import crc32_of
from shared.storage import journal
from shared.storage.journal import Readable

_MOST = 32 << 20  # bytes of a journal whose names are kept: those of 100,000 segments, in 4 MB
_PIECE = 1 << 18  # bytes of them that are yielded together
_TOGETHER = 16  # reads of a journal whose names are yielded together

Journal = tuple[int, int, int]
"""Device and inode of a journal, and what identifies it."""


class _Kept(NamedTuple):
    journal: Journal
    end: int  # offset behind the lines that hold the names
    crc32: int  # of all bytes before
    held: int  # segments in them
    names: bytes  # as JSON strings, with commas


class ListedNames:
    """Lists the names in a journal. Safe to use from several threads.

    What is kept is used only if the bytes that hold it are still those whose lines have been checked: they are read,
    and their checksum is compared. A journal that was altered, cut or replaced is read line by line.
    """

    def __init__(self) -> None:
        self._kept: _Kept | None = None

    def encoded(self, file: Readable, opened: int, count: int) -> Iterator[bytes]:
        """Yield the names of the acknowledged segments as the content of a JSON list, in pieces.

        Args:
            file: the journal.
            opened: identifies it.
            count: how many segments are acknowledged.

        Raises:
            JournalDamaged: a line does not check.
        """
        status = os.fstat(file.fileno())
        identity = status.st_dev, status.st_ino, opened
        kept = self._kept
        if (
            kept is None
            or kept.journal != identity
            or kept.held > count
            or journal.checksum(file, 0, kept.end) != kept.crc32
        ):
            kept = _Kept(identity, 0, 0, 0, b"")
        for first in range(0, len(kept.names), _PIECE):
            yield kept.names[first : first + _PIECE]
        _, end, crc32, held, _ = kept
        new: list[bytes] = []  # to be kept
        waiting: list[bytes] = []
        separator = b',"' if kept.names else b'"'
        keeps = True
        for lines, names, behind in journal.name_pieces(file, count=count, start=end) if held < count else ():
            if names:
                waiting.append(separator + b'","'.join(names) + b'"')
                separator = b',"'
            keeps = keeps and bool(lines) and end + len(lines) <= _MOST
            if keeps:
                end, crc32, held = end + len(lines), crc32_of(lines, crc32), max(held, behind)
                new += waiting[-1:] if names else []
            if len(waiting) == _TOGETHER:
                yield b"".join(waiting)
                waiting.clear()
        if new:
            self._kept = _Kept(identity, end, crc32, held, b"".join((kept.names, *new)))
        yield b"".join(waiting)
