"""The index of strain by time: the streams of all channels of a batch, and the files that hold their pieces.

Channels that arrive together in blocks are a cohort, and are indexed as one channel. One that arrives without the
others, once only, leaves its cohort for good, with a copy of its index.
"""

from __future__ import annotations

import heapq
from array import array
from collections.abc import Iterable, Iterator, Sequence

from shared.domain.runs import Runs
from shared.domain.sampling import MAX_GPS, MIN_INTERVAL, sample_rate
from shared.domain.segment import StoredSegment
from shared.strain.stated_rate import StatedRate
from shared.strain.stream import Stream

Key = tuple[str, str, float]
"""Detector, channel and samples per second."""

_MAX_TOGETHER = 64  # lists of channels that are looked up once only


class Cohort:
    """Channels of a detector that have arrived together ever since: one index stands for each of them.

    Attributes:
        detector: of all of them.
        channels: their names, in order of arrival.
        stated: by the rate that segments state.
        streams: by the rate that their times tell.
    """

    __slots__ = ("channels", "detector", "stated", "streams")

    def __init__(self, detector: str, channels: Iterable[str]) -> None:
        self.detector = detector
        self.channels = dict.fromkeys(channels)
        self.stated: dict[float, StatedRate] = {}
        self.streams: dict[float, Stream] = {}

    def split(self, channels: Iterable[str]) -> Cohort:
        """Move some of the channels to a cohort of their own, with the same strain."""
        part = Cohort(self.detector, channels)
        for channel in part.channels:
            del self.channels[channel]
        part.stated = {rate: stated.copy() for rate, stated in self.stated.items()}
        part.streams = {rate: stream.copy() for rate, stream in self.streams.items()}
        return part

    def members(self, rate: float) -> list[StatedRate]:
        """The stated rates that are one rate in truth."""
        return [stated for _, stated in sorted(self.stated.items()) if stated.true == rate]

    def rows(self, rate: float) -> Iterator[int]:
        """The rows of a stream, in order of arrival."""
        return heapq.merge(*(stated.rows for stated in self.members(rate)))

    @property
    def size(self) -> int:
        """The number of rows, once for each rate."""
        return sum(len(stated.rows) for stated in self.stated.values())


class StrainIndex:
    """The index of one batch. Not thread-safe.

    A row is a segment, or a run of all channels of a block that have it. Rows are columns of numbers in order of
    arrival, 28 bytes each. A cohort takes 28 more for a row that stores strain of it.

    Attributes:
        streams: by detector, channel and rate. Channels of a cohort share theirs.
        cohorts: each channel is in one.
        unusable: rows without usable times.
    """

    def __init__(self) -> None:
        self.streams: dict[Key, Stream] = {}
        self.cohorts: list[Cohort] = []
        self.unusable: list[int] = []
        self._cohorts: dict[tuple[str, str], Cohort] = {}
        self._together: dict[tuple[str, tuple[str, ...]], list[Cohort]] = {}
        self._detectors: dict[str, list[str]] = {}  # of each channel
        self.numbers, self.crc32s = array("q"), array("q")
        self._t0, self._n = array("d"), array("I")

    def __len__(self) -> int:
        """The number of rows."""
        return len(self.numbers)

    @property
    def size(self) -> int:
        """What it takes in memory, in entries of 28 bytes."""
        return len(self) + sum(cohort.size for cohort in self.cohorts)

    def add(self, number: int, segment: StoredSegment) -> None:
        """Add a segment that arrived after all others; `number` is its file's."""
        _, detector, channel, t0, dt, n, crc32 = segment
        self.add_runs(number, crc32, Runs(detector, t0, dt, n, (channel,)))

    def add_runs(self, number: int, crc32: int, runs: Runs) -> None:
        """Add runs of a block that arrived after all others; `number` and `crc32` are its file's."""
        row, n = len(self.numbers), runs.n
        self.numbers.append(number)
        self.crc32s.append(crc32)
        self._t0.append(runs.t0)
        self._n.append(n)
        if not runs.dt >= MIN_INTERVAL or not 0 <= runs.t0 < MAX_GPS or not n:
            self.unusable.append(row)
            return
        rate = sample_rate(runs.dt)
        for cohort in self._cohorts_of(runs.detector, runs.channels):
            self._add(cohort, row, rate, runs.t0, n)

    def _add(self, cohort: Cohort, row: int, rate: float, t0: float, n: int) -> None:
        stated = cohort.stated.get(rate)
        if stated is None:
            stated = cohort.stated[rate] = StatedRate(rate)
        before = self._n[stated.rows[-1]] if stated.rows else 0
        old = stated.true
        if stated.add(row, t0, n, before):
            for changed in {old, stated.true}:
                self._rejoin(cohort, changed)
            return
        stream = cohort.streams.get(stated.true)
        if stream is None:
            stream = Stream(stated.true)
            self._enter(cohort, stream)
        stream.add(row, t0, n)

    def _rejoin(self, cohort: Cohort, rate: float) -> None:
        stream = Stream(rate)
        for row in cohort.rows(rate):
            stream.add(row, self._t0[row], self._n[row])
        if cohort.streams.pop(rate, None) is not None:
            for channel in cohort.channels:
                del self.streams[cohort.detector, channel, rate]
        if len(stream):
            self._enter(cohort, stream)

    def _enter(self, cohort: Cohort, stream: Stream) -> None:
        cohort.streams[stream.hertz] = stream
        for channel in cohort.channels:
            self.streams[cohort.detector, channel, stream.hertz] = stream

    def _cohorts_of(self, detector: str, channels: tuple[str, ...]) -> list[Cohort]:
        """The cohorts that together have these channels and no others; such are made where there are none."""
        together = self._together.get((detector, channels))
        if together is None:
            self._separate(detector, channels)
            together = list(dict.fromkeys(self._cohorts[detector, channel] for channel in channels))
            if len(self._together) >= _MAX_TOGETHER:
                self._together.clear()
            self._together[detector, channels] = together
        return together

    def _separate(self, detector: str, channels: tuple[str, ...]) -> None:
        members: dict[Cohort | None, list[str]] = {}
        for channel in channels:
            members.setdefault(self._cohorts.get((detector, channel)), []).append(channel)
        for cohort, arrived in members.items():
            if cohort is None:
                self._join(Cohort(detector, arrived))
            elif len(arrived) < len(cohort.channels):
                self._join(cohort.split(arrived))
                self._together.clear()

    def _join(self, cohort: Cohort) -> None:
        self.cohorts.append(cohort)
        for channel in cohort.channels:
            if (cohort.detector, channel) not in self._cohorts:
                self._detectors.setdefault(channel, []).append(cohort.detector)
            self._cohorts[cohort.detector, channel] = cohort
        for stream in cohort.streams.values():
            self._enter(cohort, stream)

    def t0(self, row: int) -> float:
        """GPS time of the first sample of a row, seconds, as its segment says."""
        return self._t0[row]

    def keys_of(self, channel: str) -> list[Key]:
        """The streams of a channel."""
        return sorted(
            (detector, channel, rate)
            for detector in self._detectors.get(channel, ())
            for rate in self._cohorts[detector, channel].streams
        )

    def keys(self) -> Iterator[Key]:
        """All streams, cohort by cohort."""
        for cohort in self.cohorts:
            for rate in cohort.streams:
                for channel in cohort.channels:
                    yield cohort.detector, channel, rate

    def columns(self) -> tuple[array[int], array[int], array[float], array[int]]:
        """The columns of the rows, for a file."""
        return self.numbers, self.crc32s, self._t0, self._n

    @classmethod
    def restored(
        cls,
        columns: tuple[array[int], array[int], array[float], array[int]],
        unusable: list[int],
        cohorts: Iterable[Cohort],
        order: Sequence[int],
    ) -> StrainIndex:
        """The inverse of `columns`, with the cohorts; `order` has the positions in `keys` of streams as they came."""
        index = cls()
        index.numbers, index.crc32s, index._t0, index._n = columns
        index.unusable = unusable
        for cohort in cohorts:
            index._join(cohort)
        keys = list(index.keys())
        index.streams = {keys[position]: index.streams[keys[position]] for position in order}
        return index

    def stated_rates(self, key: Key) -> list[float]:
        """The rates by which segments of a stream were sent although their times contradict these."""
        return [stated.rate for stated in self._cohorts[key[:2]].members(key[2]) if stated.contradicted]

    def rows(self, key: Key) -> Iterator[int]:
        """The rows of a stream, in order of arrival."""
        return self._cohorts[key[:2]].rows(key[2])
