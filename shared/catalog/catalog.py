"""The catalog: the indices of the open batch and of the archives, kept up with the volume at each request."""

from __future__ import annotations

import contextlib
import logging
import os
import threading
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass

import msgspec

from shared.archives.batch_files import Where
from shared.catalog.indexed_batch import IndexedBatch, Pages, Replaced, save
from shared.errors import Busy, Recovering
from shared.storage.batches import Archived
from shared.storage.reader import BatchReader, Page
from shared.strain.index import StrainIndex
from shared.volume.layout import Layout

log = logging.getLogger(__name__)

INDEX, COVERAGE = "strain.idx", "coverage.json"
_MAX_ROWS = 4_000_000  # segments of archives in memory: about 70 bytes each
_SAVE_EVERY = 20_000  # segments
_LOCK_TIMEOUT = 10.0  # seconds


@dataclass(frozen=True, slots=True)
class Indexed:
    """A batch to look into: its number, its name (an archive's, or "open"), its index, and the folder of its files."""

    number: int
    name: str
    index: StrainIndex
    folder: Where | str


class Catalog:
    """The indices of a store. Safe to use from several threads.

    It needs to read the volume only. Where it can write, it saves the indices: the open batch's beside the archives,
    an archive's in its folder, with `coverage.json` for people and scripts.

    Args:
        reader: of the store.
        layout: the store's paths.
    """

    def __init__(self, reader: BatchReader, layout: Layout) -> None:
        self._reader = reader
        self._layout = layout
        self._lock = threading.Lock()
        self._open: IndexedBatch | None = None
        self._archives: OrderedDict[Archived, IndexedBatch] = OrderedDict()
        self._saving = threading.Lock()

    @contextlib.contextmanager
    def look(self, batch: str) -> Iterator[list[Indexed]]:
        """The batches that a parameter `batch` names, up to date, in the order in which they were stored.

        Their indices do not change while the context lasts.

        Raises:
            NoSuchFile: there is no such batch.
            Recovering: an index is being made; each request makes a part of it.
            Busy: other requests make an index.
            DatastoreError: the volume cannot be read.
        """
        if not self._lock.acquire(timeout=_LOCK_TIMEOUT):
            raise Busy("the index of strain is being made; send the request again")
        try:
            chosen = self._reader.batches.select(batch)
            current = self._update_open() if chosen.open else None
            if current is not None:
                # Listed behind the open batch: one that was archived meanwhile would be in neither of them.
                chosen = self._reader.batches.select(batch)
                current = current if chosen.open else None
            found = []
            for archived in chosen.archived:
                if current is None or archived.opened != current.opened:
                    followed = self._update_archive(archived)
                    folder = self._where(self._layout.archive(archived.name))
                    found.append(Indexed(archived.batch, archived.name, followed.index, folder))
            if current is not None:
                found.append(Indexed(current.number, "open", current.index, self._where(self._layout.data)))
            self._forget_oldest()
            yield found
        finally:
            self._lock.release()

    def _where(self, folder: str) -> Where:
        return Where(folder, self._reader.remote)

    def save_archive(self, name: str) -> None:
        """Save the index and `coverage.json` of an archive, unless they are there.

        Raises:
            DatastoreError: its journal cannot be read.
        """
        coverage = os.path.join(self._layout.archive(name), COVERAGE)
        for archived in self._reader.batches.archived():
            if archived.name != name or (os.path.exists(coverage) and os.path.exists(self._index_path(archived))):
                continue
            batch = IndexedBatch(self._pages_of(archived), self._index_path(archived))
            batch.load()
            while not batch.complete:
                before = batch.count
                try:
                    batch.follow()
                except Recovering:  # a part of a long journal was read
                    if batch.count <= before:
                        raise
            if batch.count:
                save(*batch.encode())
                save(coverage, _coverage(batch))

    def _update_open(self) -> IndexedBatch:
        for _ in range(3):
            if self._open is None:
                self._open = IndexedBatch(self._reader.page, self._layout.strain_index)
                self._open.load()
            try:
                self._open.follow()
            except Replaced:
                self._keep_archived(self._open)
                self._open = None
                continue
            if self._open.count - self._open.saved >= max(_SAVE_EVERY, self._open.count // 10):
                self._save(self._open)
            return self._open
        raise Recovering("The batch is being archived; send the request again.")

    def _keep_archived(self, batch: IndexedBatch) -> None:
        """Go on with the index of the batch that was open until now, in its archive."""
        for archived in self._reader.batches.archived():
            if archived.opened == batch.opened:
                batch.continues(self._pages_of(archived), self._index_path(archived))
                self._archives[archived] = batch

    def _update_archive(self, archived: Archived) -> IndexedBatch:
        batch = self._archives.get(archived)
        if batch is None:
            batch = IndexedBatch(self._pages_of(archived), self._index_path(archived))
            batch.load()
            self._archives[archived] = batch
        self._archives.move_to_end(archived)
        if not batch.complete:
            batch.follow()
            if batch.count and batch.saved != batch.count:
                self._save(batch, coverage=os.path.join(self._layout.archive(archived.name), COVERAGE))
        return batch

    def _forget_oldest(self) -> None:
        """Forget the archives that were asked for longest ago, where there are too many rows."""
        rows = sum(one.index.size for one in self._archives.values())
        while rows > _MAX_ROWS and len(self._archives) > 1:
            _, oldest = self._archives.popitem(last=False)
            rows -= oldest.index.size

    def _pages_of(self, archived: Archived) -> Pages:
        def pages(after: str, limit: int | None) -> Page:
            return self._reader.archived_page(archived.name, after, limit)

        return pages

    def _index_path(self, archived: Archived) -> str:
        return os.path.join(self._layout.archive(archived.name), INDEX)

    def _save(self, batch: IndexedBatch, coverage: str = "") -> None:
        """Save an index beside the requests; one at a time."""
        if not self._saving.acquire(blocking=False):
            return
        path, content = batch.encode()
        summary = _coverage(batch) if coverage else b""

        def write() -> None:
            try:
                if save(path, content) and coverage:
                    save(coverage, summary)
            finally:
                self._saving.release()

        threading.Thread(target=write, name="save-index", daemon=True).start()


def _coverage(batch: IndexedBatch) -> bytes:
    """`coverage.json`: of each stream the GPS times and lengths of its stretches, seconds and samples."""
    streams = [
        {
            "detector": detector,
            "channel": channel,
            "rate": rate,
            "stretches": [
                {"t0": float(stream.time(stretch, stretch.first)), "n": stretch.stop - stretch.first}
                for stretch in stream.stretches()
            ],
            "overlaps": stream.overlaps,
        }
        for (detector, channel, rate), stream in sorted(batch.index.streams.items())
    ]
    return msgspec.json.encode({"batch": batch.number, "segments": batch.count, "streams": streams})
