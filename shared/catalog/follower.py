"""The newest arrivals in memory, followed by one thread for all readers of the process, while there are any."""

from __future__ import annotations

import bisect
import logging
import threading
import time
from collections.abc import Callable

from shared.catalog.arrivals import Arrival, Arrivals, Position
from shared.errors import Busy, DatastoreError
from shared.storage.reader import BatchReader

log = logging.getLogger(__name__)

_EVERY = 0.05  # seconds between two looks at the counts
_PAGE = 1000  # arrivals in one read, and in one answer
_RETRY = 5.0  # seconds

Wake = Callable[[], object]


class Follower:
    """Follows the store's arrivals. Safe to use from several threads.

    Readers that are up to date share the newest arrivals, so that a journal is read once for all of them.

    Args:
        reader: of the store.
        most: readers at once.
        backlog: arrivals that are kept.
    """

    def __init__(self, reader: BatchReader, most: int, backlog: int) -> None:
        self._reader = reader
        self._most = most
        self._backlog = backlog
        self._updating = threading.Lock()
        self._arrivals: Arrivals | None = None
        self._seen: tuple[int, int] | None = None
        self._lock = threading.Lock()  # of what follows, held for moments only
        self._wakes: set[Wake] = set()
        self._positions: list[Position] = []  # ascending
        self._newest: list[Arrival] = []  # one for each position
        self._floor = Position(0)  # all arrivals behind it are kept

    def join(self, wake: Wake) -> None:
        """Count one more reader; `wake` is called, on another thread, whenever something has arrived.

        Raises:
            Busy: there are as many as there may be.
        """
        with self._lock:
            if len(self._wakes) >= self._most:
                raise Busy(f"{self._most} readers follow already, which is LIVE_READERS; ask again later")
            self._wakes.add(wake)

    def leave(self, wake: Wake) -> None:
        """Count one reader less."""
        with self._lock:
            self._wakes.discard(wake)

    def newest(self) -> Position:
        """The position behind all that is acknowledged now. To be called by readers that have joined.

        Raises:
            DatastoreError: the store cannot be read now.
        """
        with self._updating:
            if self._arrivals is None:
                seen = self._reader.progress()
                self._arrivals = Arrivals(self._reader, Position(self._reader.newest()))
                self._seen = seen
                with self._lock:
                    self._floor = self._arrivals.position
                threading.Thread(target=self._run, name="live", daemon=True).start()
            else:
                self._update(self._arrivals)
            return self._arrivals.position

    @property
    def floor(self) -> Position:
        """The position behind which all arrivals are kept in memory."""
        with self._lock:
            return self._floor

    def behind(self, position: Position) -> list[Arrival] | None:
        """The next arrivals, up to a thousand; None where they are not kept in memory any more."""
        with self._lock:
            if position < self._floor:
                return None
            first = bisect.bisect_right(self._positions, position)
            return self._newest[first : first + _PAGE]

    def _run(self) -> None:
        failed_at = 0.0
        while True:
            time.sleep(_EVERY)
            with self._updating:
                if not self._is_wanted():
                    return
                assert self._arrivals is not None
                try:
                    self._update(self._arrivals)
                except DatastoreError as error:  # as while the writer starts again
                    if time.monotonic() - failed_at > _RETRY:
                        failed_at = time.monotonic()
                        log.warning("arrivals cannot be followed now: %s", error)
                except Exception:  # such as a disk's, which may pass: without this thread no reader is woken
                    if time.monotonic() - failed_at > _RETRY:
                        failed_at = time.monotonic()
                        log.exception("following arrivals failed")

    def _is_wanted(self) -> bool:
        with self._lock:
            if self._wakes:
                return True
            self._arrivals, self._positions, self._newest = None, [], []
            return False

    def _update(self, arrivals: Arrivals) -> None:
        seen = self._reader.progress()
        if seen == self._seen:
            return
        while found := arrivals.read(_PAGE):
            with self._lock:
                self._newest += found
                self._positions += [arrival.position for arrival in found]
                if len(self._newest) > 2 * self._backlog:  # seldom, because the rest is moved
                    self._floor = self._positions[-self._backlog - 1]
                    del self._newest[: -self._backlog], self._positions[: -self._backlog]
                wakes = list(self._wakes)
            for wake in wakes:
                wake()
        self._seen = seen
