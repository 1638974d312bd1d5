"""Runs: the strain that a payload holds, as its journal record lists it. A segment is one run, a block many."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple, Protocol

import msgspec


class Runs(msgspec.Struct, array_like=True, gc=False, frozen=True):
    """One run of each of several channels, with the same times. In JSON a list, because a block has many.

    Attributes:
        detector: of all the channels; may be empty.
        t0: GPS time of the first sample, seconds.
        dt: sampling interval, seconds.
        n: number of samples.
        channels: their names.
    """

    detector: str
    t0: float
    dt: float
    n: int
    channels: tuple[str, ...]


class Run(NamedTuple):
    """`n` samples of one channel from the GPS time `t0` on, `dt` apart, both in seconds."""

    detector: str
    channel: str
    t0: float
    dt: float
    n: int


class Entry(Protocol):
    """What a record, or an entry of the log, says about its payload; see `records.Record`."""

    @property
    def detector(self) -> str: ...  # noqa: D102
    @property
    def channel(self) -> str: ...  # noqa: D102
    @property
    def t0(self) -> float | None: ...  # noqa: D102
    @property
    def dt(self) -> float | None: ...  # noqa: D102
    @property
    def samples(self) -> int: ...  # noqa: D102
    @property
    def holds(self) -> Sequence[Runs]: ...  # noqa: D102


def runs_of(entry: Entry) -> Iterator[Run]:
    """The runs of a stored payload; of a segment without a known time none."""
    if entry.holds:
        for runs in entry.holds:
            for channel in runs.channels:
                yield Run(runs.detector, channel, runs.t0, runs.dt, runs.n)
    elif entry.t0 is not None and entry.dt:
        yield Run(entry.detector, entry.channel, entry.t0, entry.dt, entry.samples)
