"""Bodies: the bytes of a file in some format, made piece by piece from any offset on."""

from __future__ import annotations

import sys
from array import array
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple, Protocol

from shared.strain.series import Series

_SAMPLE = 8  # bytes of a float64


class Body(Protocol):
    """The bytes of a file; `size` is None where only making them tells it."""

    @property
    def size(self) -> int | None:
        """Length in bytes."""

    def read(self, start: int = 0, stop: int | None = None) -> Iterator[bytes]:
        """The bytes from `start` to before `stop`; where `size` is None, only all of them.

        Raises:
            NotFrozen, StorageFailed, SegmentDamaged: as `reading.DataFolder`.
        """


class Binary:
    """Constant bytes, and series as little-endian float64, one after another; any part is read by itself."""

    def __init__(self, *contents: bytes | Series) -> None:
        self._contents = contents
        self._sizes = [len(one) if isinstance(one, bytes) else _SAMPLE * one.n for one in contents]
        self.size: int | None = sum(self._sizes)

    def read(self, start: int = 0, stop: int | None = None) -> Iterator[bytes]:
        """See `Body`."""
        stop = sum(self._sizes) if stop is None else stop
        position = 0
        for content, size in zip(self._contents, self._sizes, strict=True):
            low, high = max(start - position, 0), min(stop - position, size)
            if low < high:
                yield from [content[low:high]] if isinstance(content, bytes) else _samples(content, low, high)
            position += size


def little_endian(block: array[float]) -> bytes:
    """The samples of a block, which is not used any more."""
    if sys.byteorder == "big":
        block.byteswap()
    return block.tobytes()


def _samples(series: Series, low: int, high: int) -> Iterator[bytes]:
    first, last = low // _SAMPLE, -(-high // _SAMPLE)
    position = first * _SAMPLE
    for block in series.blocks(first, last):
        content = little_endian(block)
        yield content[max(low - position, 0) : high - position]
        position += len(content)


class Streamed:
    """Bytes whose length is known when they have been made, such as text."""

    size: int | None = None

    def __init__(self, make: Callable[[], Iterator[bytes]]) -> None:
        self._make = make

    def read(self, start: int = 0, stop: int | None = None) -> Iterator[bytes]:
        """See `Body`."""
        assert start == 0
        assert stop is None
        return self._make()


class Format(NamedTuple):
    """A format of `/strain`.

    Attributes:
        name: in `format=`.
        type: media type.
        extension: of a file's name.
        several: whether it holds several series, as `gaps=split` makes them.
        body: makes the body.
    """

    name: str
    type: str
    extension: str
    several: bool
    body: Callable[[Sequence[Series]], Body]
