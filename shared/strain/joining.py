"""Joining segments to contiguous strain, in order of GPS time, with their gaps and overlaps.

Joining looks at times only. Samples are read when they are needed, one stretch at a time.
"""

from __future__ import annotations

import itertools
from array import array
from collections.abc import Iterable, Iterator, Sequence
from math import ceil
from typing import NamedTuple

import msgspec

from shared.archives.batch_files import Where
from shared.domain.segment import StoredSegment
from shared.strain.index import StrainIndex
from shared.strain.reading import DataFolder, FileSlice, Wanted, read_all
from shared.strain.stream import Stream, Stretch


class ContiguousStrain(NamedTuple):
    """Contiguous strain: `n` samples from the GPS time `t0` on."""

    t0: float
    n: int
    parts: list[FileSlice]


class ChannelStrain(msgspec.Struct):
    """The strain of one detector's channel at one sampling rate.

    Attributes:
        rate: samples per second.
        stretches: contiguous strain, in time order.
        stated_rates: samples per second by the segments' sampling intervals, where their times contradict these.
        overlaps: samples dropped because a segment stored earlier holds the same times.
    """

    detector: str
    channel: str
    rate: float
    stretches: list[ContiguousStrain] = []
    stated_rates: list[float] = []
    overlaps: int = 0

    def span(self, stretch: ContiguousStrain) -> tuple[float, float]:
        """The span of a stretch: GPS time of its first sample, and of the first sample after it."""
        return stretch.t0, stretch.t0 + stretch.n / self.rate

    @property
    def gaps(self) -> list[tuple[float, float]]:
        """The spans of GPS time without samples."""
        spans = [self.span(stretch) for stretch in self.stretches]
        return [(before[1], after[0]) for before, after in itertools.pairwise(spans)]


def streams(segments: Iterable[StoredSegment]) -> tuple[list[ChannelStrain], list[str]]:
    """Sort segments into channels and join what is contiguous; `index` has the rules.

    Args:
        segments: in order of arrival.

    Returns:
        The streams, and the names of files without usable times.
    """
    members = list(segments)
    index = StrainIndex()
    for number, segment in enumerate(members):
        index.add(number, segment)
    found = [
        ChannelStrain(
            *key,
            stretches=[_contiguous(stream, stretch, members) for stretch in stream.stretches()],
            stated_rates=index.stated_rates(key),
            overlaps=stream.overlaps,
        )
        for key, stream in sorted(index.streams.items())
    ]
    return found, [members[row].name for row in index.unusable]


def _contiguous(stream: Stream, stretch: Stretch, members: list[StoredSegment]) -> ContiguousStrain:
    parts = []
    for piece in stream.pieces(stretch.first, stretch.stop):
        member = members[piece.row]
        run = member.detector, member.channel, member.t0
        parts.append(FileSlice(member.name, piece.skip, piece.n, member.crc32, run))
    return ContiguousStrain(float(stream.time(stretch, stretch.first)), stretch.stop - stretch.first, parts)


def split(
    stream: ChannelStrain, stretch: ContiguousStrain, longest: float, overlap: float
) -> Iterator[ContiguousStrain]:
    """Cut a stretch into equal pieces of at most `longest` seconds that overlap by `overlap` seconds."""
    shared = int(overlap * stream.rate)
    most = max(int(longest * stream.rate), shared + 1)
    if stretch.n <= most:
        yield stretch
        return
    count = ceil((stretch.n - shared) / (most - shared))
    step = ceil((stretch.n - shared) / count)
    for number in range(count):
        first = number * step
        yield part_of(stream, stretch, first, min(step + shared, stretch.n - first))


def part_of(stream: ChannelStrain, stretch: ContiguousStrain, first: int, n: int) -> ContiguousStrain:
    """`n` samples of a stretch, from number `first` on."""
    parts, position = [], 0
    for part in stretch.parts:
        skip = max(0, first - position)
        take = min(part.n, first + n - position) - skip
        if take > 0:
            parts.append(part._replace(skip=part.skip + skip, n=take))
        position += part.n
    return ContiguousStrain(stretch.t0 + first / stream.rate, n, parts)


def samples(folder: Where | str, stretch: ContiguousStrain) -> array[float]:
    """The samples of a stretch, float64; errors as `reading.DataFolder`.

    Args:
        folder: where the segments' files are.
        stretch: what to read.
    """
    return samples_of_each(folder, [stretch])[0]


def samples_of_each(folder: Where | str, stretches: Sequence[ContiguousStrain]) -> list[array[float]]:
    """The samples of several stretches, where a file that holds several of them is read once; as `samples`."""
    source = DataFolder(folder)
    joined = [array("d", bytes(8 * stretch.n)) for stretch in stretches]
    wanted = []
    for stretch, into in zip(stretches, joined, strict=True):
        offset = 0
        for part in stretch.parts:
            wanted.append(Wanted(source, part, into, offset))
            offset += part.n
    read_all(wanted)
    return joined
