"""The pieces of strain of a batch, in the order in which they are transformed, and their samples, read in groups."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from shared.archives.batch_files import Where
from shared.errors import SegmentDamaged
from shared.strain import joining
from shared.strain.joining import ChannelStrain, ContiguousStrain

FRANGE = (20.0, 500.0)  # Hz: where ground-based detectors see glitches and mergers
MIN_DURATION = 0.5  # seconds of contiguous strain below which a whitening filter has no meaning
MAX_DURATION = 64.0  # seconds in one spectrogram; longer strain is split, so that memory stays bounded
OVERLAP = 2.0  # seconds: what whitening spoils at the ends of two such pieces, gwpy's default filter length
MIN_SAMPLE_RATE = (
    128.0  # samples per second below which hardly anything is left between 20 Hz and what gwpy can resolve
)
_GROUP = 64 << 20  # bytes of samples that are read together


class Piece(NamedTuple):
    """A piece of a stream's strain; `stream` is the stream's number, and the piece is the stream's `number`-th."""

    stream: int
    number: int
    strain: ContiguousStrain


def pieces(streams: Sequence[ChannelStrain]) -> list[Piece]:
    """All pieces of a batch: the first one of every stream, then the second ones, and so on.

    So channels that arrived together are read together, and where not all can be made, each channel has some.
    """
    found = [
        Piece(number, position, piece)
        for number, stream in enumerate(streams)
        for position, piece in enumerate(
            part for stretch in stream.stretches for part in joining.split(stream, stretch, MAX_DURATION, OVERLAP)
        )
    ]
    return sorted(found, key=lambda piece: (piece.number, piece.stream))


def refusal(duration: float, rate: float) -> tuple[str, str] | None:
    """The verdict on strain that cannot be transformed, and its reason; None if it can.

    Args:
        duration: of contiguous strain, seconds.
        rate: samples per second.
    """
    if duration < MIN_DURATION:
        return "too short", f"under {MIN_DURATION} s of contiguous strain"
    if rate < MIN_SAMPLE_RATE:
        return "failed", f"sampled at under {MIN_SAMPLE_RATE} Hz"
    return None


def read(folder: Where | str, wanted: Iterable[Piece]) -> Iterator[tuple[Piece, array[float] | SegmentDamaged]]:
    """Each piece with its samples, float64, or with the error that names a damaged file.

    64 MiB or one piece are in memory at most. Their files are read once for all channels that they hold.

    Args:
        folder: where the segments' files are.
        wanted: what to read.

    Raises:
        NotFrozen, StorageFailed: as `joining.samples`.
    """
    group: list[Piece] = []
    size = 0
    for piece in wanted:
        size += 8 * piece.strain.n
        if group and size > _GROUP:
            yield from _read_group(folder, group)
            group, size = [], 8 * piece.strain.n
        group.append(piece)
    yield from _read_group(folder, group)


def _read_group(folder: Where | str, group: list[Piece]) -> Iterator[tuple[Piece, array[float] | SegmentDamaged]]:
    try:
        found = joining.samples_of_each(folder, [piece.strain for piece in group])
    except SegmentDamaged:
        for piece in group:
            try:
                yield piece, joining.samples(folder, piece.strain)
            except SegmentDamaged as error:  # of this channel only: the others go on
                yield piece, error
        return
    for piece in group:
        yield piece, found.pop(0)
