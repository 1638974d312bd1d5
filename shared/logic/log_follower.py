"""Following the log of the batch: what arrives is read once, whoever asks about it and however often."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Iterable
from typing import Protocol

import msgspec

from shared.domain.livetime import Livetime
from shared.domain.records import file_number
from shared.errors import Recovering
from shared.logic.data_buffer import Counts

_PAGE = 10_000  # entries asked for at once
_SPAN = 60  # seconds of history


class LoggedSegment(msgspec.Struct, omit_defaults=True, gc=False):
    """A line of the log as far as it is shown."""

    Id: int
    size: int
    name: str
    time: str = ""
    detector: str = ""
    channel: str = ""
    t0: float | None = None
    dt: float | None = None
    n: int = 0


_entry = msgspec.json.Decoder(LoggedSegment)


class Logged(Protocol):
    """What is followed."""

    def stat(self) -> Counts:
        """As `Buffer.stat`."""

    def log(self, after: str = "", limit: int | None = None) -> Iterable[bytes]:
        """As `Buffer.log`."""


class LogFollower:
    """What is known of the open batch from its log. Safe to use from several threads.

    Attributes:
        count: segments seen.
        coverage: the strain they hold.
    """

    def __init__(self, buffer: Logged) -> None:
        self._buffer = buffer
        self._lock = threading.Lock()
        self._rates: deque[list[int]] = deque()  # [second, segments, bytes], ascending, over all batches
        self._newest = 0  # the number in the newest name in there
        self._reset()

    def update(self, most: int | None = None) -> LogFollower:
        """Read what has been logged since the last time, or `most` entries of it; return itself.

        Raises:
            DatastoreError: the log cannot be read.
        """
        with self._lock:
            for _ in range(3):
                if self._buffer.stat().n_itm < self.count:
                    self._reset()  # the batch was filed away since
                if self._follow(most):
                    return self
                self._reset()  # so it was, and the next one has grown longer already
            raise Recovering("The batch is being changed.")

    def rates(self, now: float | None = None) -> list[tuple[int, int]]:
        """Segments and bytes that arrived in each of the last 60 whole seconds, oldest first."""
        this = int(time.time() if now is None else now)
        with self._lock:
            known = {second: (segments, size) for second, segments, size in self._rates}
        return [known.get(second, (0, 0)) for second in range(this - _SPAN, this)]

    def recent(self) -> list[LoggedSegment]:
        """The newest entries, up to 64, oldest first."""
        with self._lock:
            return list(self._recent)

    def _reset(self) -> None:
        self.count = 0
        self.livetime = Livetime()
        self._recent: deque[LoggedSegment] = deque(maxlen=64)

    def _follow(self, most: int | None) -> bool:
        """Read on; False where what follows is not the continuation of what was read."""
        read = 0
        while most is None or read < most:
            last = self._recent[-1].name if self._recent else ""
            lines = 0
            for line in self._buffer.log(last, _PAGE):
                entry = _entry.decode(line)
                if entry.Id != self.count:
                    return False
                self._note(entry)
                lines += 1
            read += lines
            if lines != _PAGE:
                break
        return True

    def _note(self, entry: LoggedSegment) -> None:
        self.count += 1
        self._recent.append(entry)
        if entry.t0 is not None and entry.dt and entry.n:
            self.livetime.add((entry.detector, entry.channel), entry.t0, entry.dt, entry.n)
        if (number := file_number(entry.name)) <= self._newest:
            return
        self._newest = number
        second = number // 1_000_000_000  # names are the time of arrival, in nanoseconds
        if not self._rates or self._rates[-1][0] < second:
            self._rates.append([second, 0, 0])
            while self._rates[0][0] < second - _SPAN:
                self._rates.popleft()
        self._rates[-1][1] += 1
        self._rates[-1][2] += entry.size
