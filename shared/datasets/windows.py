"""The samples of a channel around an event, and what of them is missing."""

from __future__ import annotations

import itertools
from array import array
from collections.abc import Iterator, Sequence
from fractions import Fraction
from math import nan
from typing import NamedTuple

from shared.archives.batch_files import Where
from shared.catalog.tracks import Span, Track, gaps, joined
from shared.datasets.request import Request, exact
from shared.errors import NoData
from shared.strain.reading import DataFolder, Wanted, read_all
from shared.strain.series import Series

_MAX_SAMPLES = 1 << 62  # the request was checked before
_KEPT = 64 << 20  # bytes of decoded samples kept for the next windows
_GROUP = 64 << 20  # bytes of windows that are read together


class Window(NamedTuple):
    """The samples of a channel around an event, NaN where there are none, and the GPS spans without samples."""

    series: Series
    missing: list[Span]


class Folders(dict[Where | str, DataFolder]):
    """The folders of batches, which keep the samples of windows that overlap."""

    def __missing__(self, where: Where | str) -> DataFolder:
        """Open a folder; errors as `DataFolder`."""
        found = self[where] = DataFolder(where, _KEPT)
        return found


def whole_of(series: Series) -> array[float]:
    """All samples of a series, float64; errors as `whole_of_each`."""
    return whole_of_each([series])[0]


def whole_of_each(several: Sequence[Series]) -> list[array[float]]:
    """All samples of each series, float64, where a file that holds several of them is read once.

    Raises:
        NotFrozen, StorageFailed, SegmentDamaged: as `reading.DataFolder`.
    """
    wholes = [array("d", [series.fill]) * series.n for series in several]
    wanted = []
    for series, whole in zip(several, wholes, strict=True):
        for part in series.parts:
            offset = part.offset
            for folder, slice in part.sources:
                n = min(slice.n, series.n - offset)
                if n > 0:
                    wanted.append(Wanted(folder, slice._replace(n=n), whole, offset))
                offset += slice.n
    read_all(wanted)
    return wholes


def groups(several: Sequence[Series]) -> Iterator[list[int]]:
    """The numbers of series in groups, so that the samples of a group take 64 MiB or less if it is more than one."""
    group: list[int] = []
    size = 0
    for number, series in enumerate(several):
        size += 8 * series.n
        if group and size > _GROUP:
            yield group
            group, size = [], 8 * series.n
        group.append(number)
    if group:
        yield group


def cut(track: Track, gps: float, request: Request, folders: Folders | None = None) -> Window:
    """The window around an event: for every event the same number of samples, from the first one at its begin or later.

    Raises:
        NotFrozen: the batch is being archived.
    """
    rate = track.rate
    start = exact(gps) + request.interval[0]
    n = max(1, round(request.duration * rate))
    end = start + n / rate
    try:
        found = track.series(start, end, _MAX_SAMPLES, folders)
    except NoData:
        detector, channel, _ = track.key
        first = -(-start * rate // 1) / rate
        return Window(Series(detector, channel, rate, Fraction(first), n, [], nan), [(start, end)])
    active = [(one.t0, one.t0 + one.n / rate) for one in found]
    missing = gaps(active, start, end, rate)
    if len(found) > 1 and not missing:  # on two grids of times, less than a sample apart
        missing = [(after[0], after[0]) for _, after in itertools.pairwise(active)]
    return Window(joined(found, start, end, nan)._replace(n=n), missing)
