"""Joining segments to contiguous strain, in order of GPS time, with their gaps and overlaps.

Joining looks at times only. Samples are read when they are needed, one stretch at a time.
"""

from __future__ import annotations

import itertools
from array import array
from collections.abc import Iterable, Iterator
from math import ceil
from typing import NamedTuple

import msgspec

from shared.domain.segment import StoredSegment
from shared.errors import NotFrozen, StorageFailed
from shared.volume.posix import open_beneath


class FileSlice(NamedTuple):
    """Samples of one file: `n` of them from number `skip` on."""

    name: str
    skip: int
    n: int


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
        overlaps: samples dropped because an earlier segment holds the same times.
    """

    detector: str
    channel: str
    rate: float
    stretches: list[ContiguousStrain] = []
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

    A segment continues a stretch if it begins within half a sampling interval of where the stretch ends; earlier,
    it overlaps, and the samples that are there already are dropped; later, there is a gap.

    Returns:
        The streams, and the names of files without usable times.
    """
    sorted_out: dict[tuple[str, str, float], list[StoredSegment]] = {}
    unusable = []
    for segment in segments:
        if segment.dt > 0:
            sorted_out.setdefault((segment.detector, segment.channel, _rate(segment.dt)), []).append(segment)
        else:
            unusable.append(segment.name)
    found = []
    for key in sorted(sorted_out):
        stream = ChannelStrain(*key)
        _join(stream, sorted(sorted_out[key], key=lambda segment: segment.t0))
        found.append(stream)
    return found, unusable


def _rate(dt: float) -> float:
    """Samples per second; clients round dt, and detectors sample at whole rates."""
    rate = 1 / dt
    return float(round(rate)) if rate >= 0.5 and abs(rate - round(rate)) <= 1e-4 * rate else rate


def _join(stream: ChannelStrain, segments: list[StoredSegment]) -> None:
    end = 0.0
    parts: list[FileSlice] = []
    for segment in segments:
        late = (segment.t0 - end) * stream.rate if parts else 1.0  # samples
        skip = max(0, round(-late))
        if skip >= segment.n:
            stream.overlaps += segment.n
            continue
        stream.overlaps += skip
        if late >= 0.5:
            parts = []
            stream.stretches.append(ContiguousStrain(segment.t0, 0, parts))
        parts.append(FileSlice(segment.name, skip, segment.n - skip))
        stretch = stream.stretches[-1]
        stream.stretches[-1] = stretch._replace(n=stretch.n + segment.n - skip)
        end = segment.t0 + segment.n / stream.rate


def split(
    stream: ChannelStrain, stretch: ContiguousStrain, longest: float, overlap: float
) -> Iterator[ContiguousStrain]:
    """Cut a stretch into equal pieces of at most `longest` seconds that overlap by `overlap` seconds."""
    most, shared = int(longest * stream.rate), int(overlap * stream.rate)
    if stretch.n <= most:
        yield stretch
        return
    count = ceil((stretch.n - shared) / (most - shared))
    step = ceil((stretch.n - shared) / count)
    for number in range(count):
        first = number * step
        yield _slice(stream, stretch, first, min(step + shared, stretch.n - first))


def _slice(stream: ChannelStrain, stretch: ContiguousStrain, first: int, n: int) -> ContiguousStrain:
    parts, position = [], 0
    for part in stretch.parts:
        skip = max(0, first - position)
        take = min(part.n, first + n - position) - skip
        if take > 0:
            parts.append(FileSlice(part.name, part.skip + skip, take))
        position += part.n
    return ContiguousStrain(stretch.t0 + first / stream.rate, n, parts)


class _Samples(msgspec.Struct):
    h: list[float]


_decoder = msgspec.json.Decoder(_Samples)


def samples(folder: str, stretch: ContiguousStrain) -> array[float]:
    """The samples of a stretch, float64.

    Args:
        folder: where the segments' files are.
        stretch: what to read.

    Raises:
        NotFrozen: the batch's files are not in `data/` any more.
        StorageFailed: a file cannot be read, or is not what was stored.
    """
    joined = array("d")
    for name, skip, n in stretch.parts:
        try:
            with open(open_beneath(folder, name), "rb") as file:
                h = _decoder.decode(file.read()).h
        except FileNotFoundError:
            raise NotFrozen(f"{name} is gone: the batch has been archived.") from None
        except (OSError, msgspec.DecodeError) as error:
            raise StorageFailed(f"{name}: {error}") from error
        joined.extend(h[skip : skip + n])
    return joined
