"""HDF5 as a body: written by the process that has h5py, then read. The same series are the same bytes."""

from __future__ import annotations

import functools
import os
import weakref
from collections.abc import Iterator, Sequence
from fractions import Fraction
from typing import BinaryIO

from shared.strain.formats.body import little_endian
from shared.strain.formats.hdf5_request import Channel, Layout, Piece
from shared.strain.hdf5_process import Hdf5Process
from shared.strain.series import Series

_CHUNK = 1 << 18  # bytes
_process = Hdf5Process()


class Hdf5Body:
    """The file of some series, written when its size or its bytes are needed; nothing of it stays behind."""

    def __init__(self, layout: Layout, series: Sequence[Series]) -> None:
        self._layout = layout
        self._series = series

    @property
    def size(self) -> int | None:
        """Length in bytes. Errors as `read`."""
        return os.fstat(self._file.fileno()).st_size

    def read(self, start: int = 0, stop: int | None = None) -> Iterator[bytes]:
        """See `Body`.

        Raises:
            NotAcceptable, BadRequest, Busy, StorageFailed: as `Hdf5Process.write`.
            NotFrozen, SegmentDamaged: as `Series.blocks`.
        """
        stop = os.fstat(self._file.fileno()).st_size if stop is None else stop
        while start < stop:
            chunk = os.pread(self._file.fileno(), min(_CHUNK, stop - start), start)
            start += len(chunk)
            yield chunk

    @functools.cached_property
    def _file(self) -> BinaryIO:
        first, last = self._series[0], self._series[-1]
        channels, samples = self._described()
        path = _process.write(self._layout, (first.t0, last.t0 + last.n / last.rate), channels, samples)
        file = path.open("rb")
        weakref.finalize(self, file.close)
        path.unlink()
        return file

    def _described(self) -> tuple[list[Channel], Iterator[bytes]]:
        """The channels, and the samples of their pieces. GWOSC's layout marks what is missing by itself."""
        filled = self._layout != "gwosc"
        pieces: dict[tuple[str, str, Fraction], list[Piece]] = {}
        spans: list[tuple[Series, int, int]] = []
        for one in self._series:
            members = pieces.setdefault((one.name, one.detector, one.rate), [])
            for offset, n in [(0, one.n)] if filled else [(part.offset, part.n) for part in one.parts]:
                members.append(Piece((one.t0 + offset / one.rate).as_integer_ratio(), n))
                spans.append((one, offset, offset + n))
        channels = [Channel(name, detector, float(rate), found) for (name, detector, rate), found in pieces.items()]
        blocks = (little_endian(block) for one, begin, end in spans for block in one.blocks(begin, end))
        return channels, blocks
