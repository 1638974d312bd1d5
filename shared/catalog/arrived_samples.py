"""Samples of arrivals, read from the folder in which their batch is at the moment."""

from __future__ import annotations

import time
from collections.abc import Sequence

from shared.archives.batch_files import Where
from shared.catalog.arrivals import Arrival
from shared.errors import NotFrozen, Recovering
from shared.storage.reader import BatchReader
from shared.strain.reading import DataFolder, FileSlice
from shared.volume.layout import Layout

_ATTEMPTS, _PAUSE = 40, 0.05  # seconds: a cleanall moves the batch's files in far less


class ArrivedSamples:
    """Reads the samples of arrivals. Not thread-safe.

    Args:
        reader: of the store.
        layout: the store's paths.
    """

    def __init__(self, reader: BatchReader, layout: Layout) -> None:
        self._reader = reader
        self._layout = layout
        self._folder: DataFolder | None = None  # the one in which the last file was

    def of(self, arrival: Arrival) -> Sequence[float]:
        """All samples of an arrival.

        Raises:
            SegmentDamaged: its file is not what was stored.
            StorageFailed, RemoteFailed: it cannot be read.
            Recovering: its batch is being archived, or its archive is gone.
        """
        row = arrival.row
        part = FileSlice(row.name, 0, row.n, arrival.crc32, (row.detector, row.channel, row.t0))
        for _ in range(_ATTEMPTS):
            try:
                if self._folder is not None:
                    return self._folder.samples(part)
            except NotFrozen:
                self._folder = None
            for path in (self._layout.data, *self._archives(arrival.opened)):
                try:
                    folder = DataFolder(Where(path, self._reader.remote))
                    samples = folder.samples(part)
                except NotFrozen:
                    continue
                self._folder = folder
                return samples
            time.sleep(_PAUSE)
        raise Recovering(f"{part.name} is being archived; go on with the position of this message.")

    def _archives(self, opened: int) -> list[str]:
        found = [one for one in self._reader.batches.archived() if one.opened == opened]
        return [self._layout.archive(one.name) for one in found]
