"""Ranges of objects, kept in memory in blocks, and read ahead while a reader goes on where it was."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import NamedTuple

BLOCK = 1 << 20  # bytes
_MAX_AHEAD = 32  # blocks of one request


class Source(NamedTuple):
    """An object: its path, its size in bytes, and what reads its bytes from an offset to before another one."""

    path: str
    size: int
    fetch: Callable[[int, int], bytes]


class ReadAhead:
    """How one reader goes on: the blocks of a request double while it is where the last one ended."""

    def __init__(self) -> None:
        self.next: tuple[str, int] = ("", -1)  # object and block behind the last request
        self.blocks = 1


class Ranges:
    """Blocks of objects, the last used ones. Safe to use from several threads.

    Args:
        limit: bytes that are kept.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._ahead = max(1, min(_MAX_AHEAD, limit // BLOCK // 2))
        self._lock = threading.Lock()
        self._blocks: OrderedDict[tuple[str, int], bytes] = OrderedDict()
        self._size = 0

    def read(self, source: Source, start: int, stop: int, ahead: ReadAhead) -> bytes:
        """The bytes of an object from `start` to before `stop`; errors as its `fetch`."""
        first, last = start // BLOCK, max(start, stop - 1) // BLOCK
        held = self._held(source.path, first, last)
        missing = [number for number in range(first, last + 1) if number not in held]
        if missing:
            held |= self._fetch(source, missing[0], missing[-1], ahead)
        content = b"".join(held[number] for number in range(first, last + 1))
        return content[start - first * BLOCK : stop - first * BLOCK]

    def _fetch(self, source: Source, first: int, last: int, ahead: ReadAhead) -> dict[int, bytes]:
        path, size = source.path, source.size
        ahead.blocks = min(2 * ahead.blocks, self._ahead) if ahead.next == (path, first) else 1
        behind = min(max(first + ahead.blocks, last + 1), -(-size // BLOCK))
        content = source.fetch(first * BLOCK, min(behind * BLOCK, size))
        ahead.next = path, behind
        found = {first + at // BLOCK: content[at : at + BLOCK] for at in range(0, len(content), BLOCK)}
        with self._lock:
            for number, block in found.items():
                self._size += len(block) - len(self._blocks.pop((path, number), b""))
                self._blocks[path, number] = block
            while self._size > self._limit and self._blocks:
                self._size -= len(self._blocks.popitem(last=False)[1])
        return found

    def _held(self, path: str, first: int, last: int) -> dict[int, bytes]:
        found = {}
        with self._lock:
            for number in range(first, last + 1):
                if (block := self._blocks.get((path, number))) is not None:
                    self._blocks.move_to_end((path, number))
                    found[number] = block
        return found
