"""The log of the open batch, followed: each entry is read once, for all who need its figures."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Iterable
from typing import NamedTuple

import msgspec
from msgspec import field

from shared.decoding import json_decoder
from shared.domain.livetime import Livetime
from shared.domain.records import file_number
from shared.domain.runs import Runs, runs_of
from shared.errors import Recovering
from shared.logic.data_buffer import DataBuffer

_PAGE = 10_000  # entries in one request
_HISTORY = 60  # seconds of arrival rates
_RECENT = 64  # entries
_BLOCKS = 16  # of these, whose runs are kept: a thousand channels are 100 kB


class LoggedSegment(msgspec.Struct, omit_defaults=True, gc=False):
    """An entry of the log, as far as it is used; attributes as in `domain.records.Record`.

    Of a block, `channels` is their number and `t0` the first time. Only the newest ones of `recent` have `holds`.
    """

    index: int = field(name="Id")
    size: int
    name: str
    time: str = ""
    detector: str = ""
    channel: str = ""
    t0: float | None = None
    dt: float | None = None
    samples: int = field(name="n", default=0)
    format: str = ""
    holds: tuple[Runs, ...] = ()
    channels: int = 0


_entry = json_decoder(LoggedSegment)


class Figures(NamedTuple):
    """Figures of the open batch at one moment, as far as its log has been read.

    Attributes:
        entries: read so far.
        seconds: of strain, over all streams.
        longest: seconds of the longest span without a gap.
        channels: how many there are.
    """

    entries: int
    seconds: float
    longest: float
    channels: int


class LogFollower:
    """Figures of the open batch from its log. Safe to use from several threads."""

    def __init__(self, buffer: DataBuffer) -> None:
        self._buffer = buffer
        self._lock = threading.Lock()
        self._before: list[list[int]] = []  # rates of earlier batches, as far as they were read
        self._rates: deque[list[int]] = deque()  # [second, segments, bytes, samples], ascending, of the open batch
        self._reset()

    def update(self, max_entries: int | None = None) -> Figures:
        """Read the entries since the last update, about `max_entries` at most; return the figures.

        Raises:
            Recovering: the batch is archived again and again meanwhile.
            DatastoreError: the log cannot be read.
        """
        with self._lock:
            for _ in range(3):
                if self._buffer.stat().segments < self._count:
                    self._reset()  # the batch was archived
                if self._read_on(max_entries):
                    livetime = self._livetime
                    return Figures(self._count, livetime.total, livetime.longest_span, livetime.channels)
                self._reset()  # the batch was archived, and its successor is already longer
            raise Recovering("The batch is being archived; send it again.")

    def rates(
        self, archived: Iterable[tuple[int, int, int]] | None = None, now: float | None = None
    ) -> list[tuple[int, int]]:
        """Segments and bytes that arrived in each of the last 60 whole seconds, oldest first.

        Args:
            archived: second, segments and bytes of what arrived in batches that are archived. Without it those count
                that were read before they were archived.
            now: Unix time, by default the clock's.
        """
        current = int(time.time() if now is None else now)
        sums: dict[int, tuple[int, int]] = {}
        with self._lock:
            for second, segments, size, *_ in (*(self._before if archived is None else archived), *self._rates):
                before = sums.get(second, (0, 0))
                sums[second] = before[0] + segments, before[1] + size
        return [sums.get(second, (0, 0)) for second in range(current - _HISTORY, current)]

    def samples(self, seconds: int, now: float | None = None) -> float:
        """Samples that arrived in each of the last whole seconds, on average, as far as they were read.

        Args:
            seconds: how many, up to 60.
            now: Unix time, by default the clock's.
        """
        current = int(time.time() if now is None else now)
        with self._lock:
            read = (*self._before, *self._rates)
            return sum(rate[3] for rate in read if current - seconds <= rate[0] < current) / seconds

    def recent(self) -> list[LoggedSegment]:
        """The newest entries, up to 64, oldest first."""
        with self._lock:
            return list(self._recent)

    def _reset(self) -> None:
        oldest = time.time() - _HISTORY - 1
        self._before = [rate for rate in (*self._before, *self._rates) if rate[0] > oldest]
        self._rates.clear()
        self._count = 0
        self._livetime = Livetime()
        self._recent: deque[LoggedSegment] = deque(maxlen=_RECENT)

    def _read_on(self, max_entries: int | None) -> bool:
        """Read the next entries; False if they do not continue those already read."""
        read = 0
        while max_entries is None or read < max_entries:
            last = self._recent[-1].name if self._recent else ""
            lines = 0
            for line in self._buffer.log(last, _PAGE):
                entry = _entry.decode(line)
                if entry.index != self._count:
                    return False
                self._add(entry)
                lines += 1
            read += lines
            if lines != _PAGE:
                break
        return True

    def _add(self, entry: LoggedSegment) -> None:
        self._count += 1
        for run in runs_of(entry):
            if run.n:
                self._livetime.add(*run)
        if entry.holds:
            entry.channels = sum(len(runs.channels) for runs in entry.holds)
            entry.t0 = min(runs.t0 for runs in entry.holds)
        self._recent.append(entry)
        if len(self._recent) > _BLOCKS:
            self._recent[-_BLOCKS - 1].holds = ()
        second = file_number(entry.name) // 1_000_000_000  # names are the time of arrival, in nanoseconds
        if not self._rates or self._rates[-1][0] < second:
            self._rates.append([second, 0, 0, 0])
            while self._rates[0][0] < second - _HISTORY:
                self._rates.popleft()
        self._rates[-1][1] += 1
        self._rates[-1][2] += entry.size
        self._rates[-1][3] += entry.samples
