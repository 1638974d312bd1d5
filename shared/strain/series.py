"""A series: the samples of one channel over one interval, read from files as they are needed."""

from __future__ import annotations

import hashlib
from array import array
from collections.abc import Iterator, Sequence
from fractions import Fraction
from typing import NamedTuple

from shared.strain.reading import DataFolder, FileSlice

_BLOCK = 1 << 16  # samples read before they are passed on

Source = tuple[DataFolder, FileSlice]


class Part(NamedTuple):
    """Contiguous samples of a series: `n` of them from its number `offset` on, in these files."""

    offset: int
    n: int
    sources: Sequence[Source]


class Series(NamedTuple):
    """Samples on one grid of times: number `k` is at `t0 + k / rate` GPS seconds.

    Attributes:
        detector, channel: as the segments name them.
        rate: samples per second.
        t0: GPS time of the first sample, seconds.
        n: number of samples.
        parts: in time order.
        fill: value of the samples between parts.
    """

    detector: str
    channel: str
    rate: Fraction
    t0: Fraction
    n: int
    parts: Sequence[Part]
    fill: float = 0.0

    @property
    def gps(self) -> tuple[int, int]:
        """GPS time of the first sample, in seconds and nanoseconds, rounded half to even."""
        return divmod(round(self.t0 * 10**9), 10**9)

    @property
    def name(self) -> str:
        """The channel, or the detector of a channel without a name."""
        return self.channel or self.detector or "strain"

    def blocks(self, first: int = 0, stop: int | None = None) -> Iterator[array[float]]:
        """The samples from number `first` to before `stop`, float64, in blocks of some 65,536.

        Raises:
            NotFrozen, StorageFailed, SegmentDamaged: as `reading.DataFolder`.
        """
        stop = self.n if stop is None else stop
        block = array("d")
        for samples in self._runs(first, stop):
            block.extend(samples)
            if len(block) >= _BLOCK:
                yield block
                block = array("d")
        if block:
            yield block

    def _runs(self, first: int, stop: int) -> Iterator[Sequence[float]]:
        position = first
        for part in self.parts:
            begin = part.offset
            if begin + part.n <= first or begin >= stop:
                continue
            yield from self._filling(position, begin)
            for folder, slice in part.sources:
                low, high = max(begin, first), min(begin + slice.n, stop)
                if low < high:
                    yield folder.samples(slice._replace(skip=slice.skip + low - begin, n=high - low))
                    position = high
                begin += slice.n
        yield from self._filling(position, stop)

    def _filling(self, position: int, stop: int) -> Iterator[Sequence[float]]:
        while position < stop:
            n = min(stop - position, _BLOCK)
            yield array("d", [self.fill]) * n
            position += n

    def identity(self) -> bytes:
        """Bytes that are the same only for the same samples at the same times: a SHA-256 of where they come from."""
        digest = hashlib.sha256(repr((*self[:5], self.fill)).encode())
        for part in self.parts:
            digest.update(b"%d %d;" % part[:2])
            for _, (name, skip, n, crc32, run) in part.sources:
                digest.update(f"{name} {skip} {n} {crc32} {run!r};".encode())
        return digest.digest()
