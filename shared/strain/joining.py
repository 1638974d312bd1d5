"""Joining segments to contiguous strain, in order of GPS time, with their gaps and overlaps.

Joining looks at times only. Samples are read when they are needed, one stretch at a time.
"""

from __future__ import annotations

import itertools
import zlib
from array import array
from bisect import bisect_right, insort
from collections.abc import Iterable, Iterator
from math import ceil
from typing import NamedTuple

import msgspec

from shared.domain.sampling import GRID_TOLERANCE, RATE_TOLERANCE, sample_rate
from shared.domain.segment import StoredSegment
from shared.domain.segment import samples as decode_samples
from shared.errors import BadSegment, NotFrozen, SegmentDamaged, StorageFailed
from shared.volume.posix import open_beneath

_CONTIGUOUS = 1e-3  # relative; by which the distance of two segments may contradict the stated sampling interval
_MIN_MEASURED = 0.2  # seconds; a double holds GPS time to 0.1 µs, so that shorter strain measures no rate


class FileSlice(NamedTuple):
    """Samples of one file: `n` of them from number `skip` on; `crc32` is the file's, -1 where it is not known."""

    name: str
    skip: int
    n: int
    crc32: int = -1


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
        segments: in order of arrival.
        overlaps: samples dropped because a segment stored earlier holds the same times.
    """

    detector: str
    channel: str
    rate: float
    stretches: list[ContiguousStrain] = []
    stated_rates: list[float] = []
    segments: list[StoredSegment] = []
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
    """Sort segments into channels and join what is contiguous.

    A segment continues a stretch if it begins where the stretch ends, on the stretch's own grid of sample times, to a
    quarter of a sample. So small errors of the times cannot add up. Otherwise a new stretch begins. Where segments
    overlap, the samples that were stored first are kept.

    Args:
        segments: in order of arrival.

    Returns:
        The streams, and the names of files without usable times.
    """
    stated: dict[tuple[str, str, float], list[StoredSegment]] = {}
    unusable = []
    for segment in segments:
        if segment.dt > 0:
            key = segment.detector, segment.channel, sample_rate(segment.dt)
            stated.setdefault(key, []).append(segment)
        else:
            unusable.append(segment.name)
    found: dict[tuple[str, str, float], ChannelStrain] = {}
    for (detector, channel, rate), members in sorted(stated.items()):
        measured = _measured_rate(rate, members)
        whole = measured is not None and measured == round(measured)
        true_rate = measured if measured is not None and whole else rate
        stream = found.setdefault((detector, channel, true_rate), ChannelStrain(detector, channel, true_rate))
        stream.segments += members
        if measured is not None:
            stream.stated_rates.append(rate)
    for stream in found.values():
        if stream.stated_rates:
            stream.segments.sort(key=lambda segment: segment.name)  # names sort by arrival
        _join(stream, _first_stored(stream, stream.segments))
    return [found[key] for key in sorted(found)], unusable


class _Piece(NamedTuple):
    """Samples that no earlier segment holds: GPS times of the first, and of the one after the last."""

    begin: float
    end: float
    part: FileSlice


def _first_stored(stream: ChannelStrain, segments: Iterable[StoredSegment]) -> list[_Piece]:
    """The samples of each segment whose times no segment stored before it holds, in time order."""
    pieces: list[_Piece] = []
    for segment in segments:
        t0, rate = segment.t0, stream.rate
        end = t0 + segment.n / rate
        near = bisect_right(pieces, t0, key=lambda piece: piece.end)
        covered: list[tuple[int, int]] = []  # of the segment's samples
        while near < len(pieces) and pieces[near].begin < end:
            first, last = (round((time - t0) * rate) for time in (pieces[near].begin, pieces[near].end))
            covered.append((max(first, 0), min(last, segment.n)))
            near += 1
        first = 0
        for begin, stop in [*covered, (segment.n, segment.n)]:
            if begin > first:
                part = FileSlice(segment.name, first, begin - first, segment.crc32)
                insort(pieces, _Piece(t0 + first / rate, t0 + begin / rate, part), key=lambda piece: piece.begin)
            stream.overlaps += max(stop - max(begin, first), 0)
            first = max(first, stop)
    return pieces


def _join(stream: ChannelStrain, pieces: list[_Piece]) -> None:
    parts: list[FileSlice] = []
    for piece in pieces:
        if stream.stretches:
            stretch = stream.stretches[-1]
            late = (piece.begin - stretch.t0) * stream.rate - stretch.n  # samples
        if not stream.stretches or abs(late) > GRID_TOLERANCE:
            parts = []
            stretch = ContiguousStrain(piece.begin, 0, parts)
            stream.stretches.append(stretch)
        parts.append(piece.part)
        stream.stretches[-1] = stretch._replace(n=stretch.n + piece.part.n)


def _measured_rate(rate: float, segments: list[StoredSegment]) -> float | None:
    """Samples per second by the times of segments that follow one another; None where it agrees with `rate`.

    A client that rounds its sampling interval sends times that contradict it. Detectors sample at whole rates, so a
    measured rate near a whole number is that number.
    """
    longest, n, begin = (0, 0.0), 0, segments[0].t0
    for before, after in itertools.pairwise(segments):
        elapsed = after.t0 - before.t0
        if abs(elapsed * rate / before.n - 1) < _CONTIGUOUS:
            n += before.n
            longest = max(longest, (n, after.t0 - begin))
        else:  # a gap, or an overlap
            n, begin = 0, after.t0
    samples, seconds = longest
    if seconds < _MIN_MEASURED:
        return None
    measured = sample_rate(seconds / samples)
    return measured if abs(measured / rate - 1) > RATE_TOLERANCE else None


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
            parts.append(FileSlice(part.name, part.skip + skip, take, part.crc32))
        position += part.n
    return ContiguousStrain(stretch.t0 + first / stream.rate, n, parts)


def samples(folder: str, stretch: ContiguousStrain) -> array[float]:
    """The samples of a stretch, float64.

    Args:
        folder: where the segments' files are.
        stretch: what to read.

    Raises:
        NotFrozen: the batch's files are not in `data/` any more.
        StorageFailed: a file cannot be read.
        SegmentDamaged: a file is not what was stored.
    """
    joined = array("d")
    for name, skip, n, crc32 in stretch.parts:
        try:
            with open(open_beneath(folder, name), "rb") as file:
                content = file.read()
            if crc32 >= 0 and zlib.crc32(content) != crc32:
                raise SegmentDamaged(f"{name}: its checksum differs; restore it from a backup")
            h = decode_samples(content)
        except FileNotFoundError:
            raise NotFrozen(f"{name} is gone: the batch has been archived.") from None
        except (OSError, BadSegment) as error:
            raise StorageFailed(f"{name}: {error}") from error
        joined.extend(h[skip : skip + n])
    return joined
