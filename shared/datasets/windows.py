"""The samples of a channel around an event, and what of them is missing."""

from __future__ import annotations

import itertools
from array import array
from fractions import Fraction
from math import nan
from typing import NamedTuple

from shared.catalog.tracks import Span, Track, gaps, joined
from shared.datasets.request import Request, exact
from shared.errors import NoData
from shared.strain.series import Series

_MAX_SAMPLES = 1 << 62  # the request was checked before


class Window(NamedTuple):
    """The samples of a channel around an event, NaN where there are none, and the GPS spans without samples."""

    series: Series
    missing: list[Span]


def whole_of(series: Series) -> array[float]:
    """All samples of a series, float64; errors as `Series.blocks`."""
    whole = array("d")
    for block in series.blocks():
        whole.extend(block)
    return whole


def cut(track: Track, gps: float, request: Request) -> Window:
    """The window around an event: for every event the same number of samples, from the first one at its begin or later.

    Raises:
        NotFrozen: the batch is being archived.
    """
    rate = track.rate
    start = exact(gps) + request.interval[0]
    n = max(1, round(request.duration * rate))
    end = start + n / rate
    try:
        found = track.series(start, end, _MAX_SAMPLES)
    except NoData:
        detector, channel, _ = track.key
        first = -(-start * rate // 1) / rate
        return Window(Series(detector, channel, rate, Fraction(first), n, [], nan), [(start, end)])
    active = [(one.t0, one.t0 + one.n / rate) for one in found]
    missing = gaps(active, start, end, rate)
    if len(found) > 1 and not missing:  # on two grids of times, less than a sample apart
        missing = [(after[0], after[0]) for _, after in itertools.pairwise(active)]
    return Window(joined(found, start, end, nan)._replace(n=n), missing)
