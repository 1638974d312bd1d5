"""Reading segments of archives whose local copy is gone, by range requests."""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict

from shared import metrics
from shared.archives.index import Index
from shared.archives.manifest import INDEX, Stub, piece_name
from shared.archives.place import Place
from shared.archives.ranges import Ranges, ReadAhead, Source
from shared.config import ConfigError, StoreConfig
from shared.domain.records import file_number
from shared.errors import RemoteFailed

_MAX_ROWS = 4_000_000  # rows of indices in memory, 32 bytes each


class RemoteReader:
    """Segments at ARCHIVE_URL. Safe to use from several threads. Nothing is opened before the first request.

    Args:
        config: of the store.
    """

    def __init__(self, config: StoreConfig) -> None:
        self._config = config
        self._lock = threading.Lock()
        self._place: Place | None = None
        self._ranges = Ranges(config.archive_cache)
        self._indices: OrderedDict[tuple[str, str], Index] = OrderedDict()

    @property
    def place(self) -> Place:
        """The place that ARCHIVE_URL names.

        Raises:
            RemoteFailed: it is not set, or cannot be used.
        """
        if not self._config.archive_url:
            raise RemoteFailed("these segments lie elsewhere, and ARCHIVE_URL is not set: set it to where they are")
        with self._lock:
            if self._place is None:
                try:
                    self._place = Place(self._config)
                except ConfigError as error:
                    raise RemoteFailed(str(error)) from None
            return self._place

    def segment(self, stub: Stub, name: str, ahead: ReadAhead) -> bytes:
        """A segment of an archive, as it was packed.

        Raises:
            FileNotFoundError: the archive does not hold it.
            RemoteFailed: it cannot be read now.
        """
        row = self.index(stub).find(file_number(name))
        if row is None:
            raise FileNotFoundError(name)
        piece = stub.object(piece_name(row.piece))
        path, place = f"{stub.prefix}/{piece.name}", self.place

        def fetch(start: int, stop: int) -> bytes:
            return _counted(place.read(path, start, stop))

        return self._ranges.read(Source(path, piece.size, fetch), row.offset, row.offset + row.size, ahead)

    def index(self, stub: Stub) -> Index:
        """The index of an archive.

        Raises:
            RemoteFailed: it cannot be read, or is not the one that was verified.
        """
        about = stub.object(INDEX)
        key = stub.prefix, about.sha256
        with self._lock:
            if (known := self._indices.get(key)) is not None:
                self._indices.move_to_end(key)
                return known
        content = _counted(self.place.read(f"{stub.prefix}/{INDEX}", 0, about.size))
        if hashlib.sha256(content).hexdigest() != about.sha256:
            raise RemoteFailed(f"the index of {stub.prefix} is not what was put there; verify the archive")
        found = Index.decode(content)
        with self._lock:
            self._indices[key] = found
            while len(self._indices) > 1 and sum(map(len, self._indices.values())) > _MAX_ROWS:
                self._indices.popitem(last=False)
        return found


def _counted(content: bytes) -> bytes:
    metrics.REMOTE_REQUESTS.inc()
    metrics.REMOTE_BYTES.inc(len(content))
    return content
