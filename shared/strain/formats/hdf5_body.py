"""HDF5 as a body: written whole by the process that has h5py, then read."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from fractions import Fraction

from shared.strain.formats.body import little_endian
from shared.strain.formats.hdf5_request import Channel, Layout, Piece
from shared.strain.hdf5_process import Hdf5Process
from shared.strain.series import Series

_CHUNK = 1 << 18  # bytes
_process = Hdf5Process()


class Hdf5Body:
    """The file of some series. Its size is known when it has been written, so it cannot be read in part."""

    size: int | None = None

    def __init__(self, layout: Layout, series: Sequence[Series]) -> None:
        self._layout = layout
        self._series = series

    def read(self, start: int = 0, stop: int | None = None) -> Iterator[bytes]:
        """See `Body`.

        Raises:
            NotAcceptable, BadRequest, Busy, StorageFailed: as `Hdf5Process.write`.
        """
        assert start == 0
        assert stop is None
        first, last = self._series[0], self._series[-1]
        channels, samples = self._described()
        path = _process.write(self._layout, (first.t0, last.t0 + last.n / last.rate), channels, samples)
        with path.open("rb") as file:
            path.unlink()
            while chunk := file.read(_CHUNK):
                yield chunk

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
