"""Events and windows: tiles, peaks apart from each other, and windows with as many samples for each event."""

from __future__ import annotations

import itertools
from fractions import Fraction
from math import isnan

import pytest

from shared.catalog.catalog import Indexed
from shared.catalog.tracks import Track
from shared.datasets.events import _pieces
from shared.datasets.peaks import Peak, separated
from shared.datasets.request import Request, least_rate
from shared.datasets.selection import name_of, select, tiles
from shared.datasets.windows import cut
from shared.domain.segment import StoredSegment
from shared.errors import Ambiguous, BadRequest, NoData, SpanTooLong
from shared.strain.index import StrainIndex


def batch_of(*segments: tuple[str, float, int, float], folder: str = "") -> Indexed:
    """A batch with segments of these channels, GPS times, lengths and rates."""
    index = StrainIndex()
    for number, (channel, t0, n, rate) in enumerate(segments):
        index.add(number, StoredSegment(f"gwb{number}.json", "V1", channel, t0, 1 / rate, n, -1))
    return Indexed(1, "open", index, folder)


def request(**about) -> Request:
    return Request(name="x", **{"events": [100.0], **about})


def track_of(batch: Indexed) -> Track:
    (key,) = batch.index.streams
    return Track(key, [batch])


def test_tiles_are_multiples_whose_windows_lie_within_the_strain():
    track = track_of(batch_of(("V1:A", 101.0, 40, 4.0)))  # to 111
    assert tiles(track, 2, request(window=(-1, 1)), 10) == [102.0, 104.0, 106.0, 108.0, 110.0]
    assert tiles(track, 2, request(window=(-1.25, 1)), 10) == [104.0, 106.0, 108.0, 110.0]
    assert tiles(track, 2, request(window=(-20, 20)), 10) == []
    with pytest.raises(BadRequest, match=r"events\.every"):
        tiles(track, 2, request(window=(-1, 1)), 4)


def test_of_near_peaks_the_loudest_stays():
    peaks = [Peak(10.0, 5, 60), Peak(10.5, 9, 60), Peak(11.4, 7, 60), Peak(11.6, 6, 60), Peak(30.0, 1, 60)]
    assert [peak.gps for peak in separated(peaks, 1.0)] == [10.5, 11.6, 30.0]
    assert separated(peaks, 0.0) == peaks
    assert separated([], 1.0) == []


def test_long_strain_is_searched_in_overlapping_pieces():
    pieces = list(_pieces([(Fraction(0), Fraction(200)), (Fraction(300), Fraction(303))], 64, 2))
    assert pieces[0][0] == 0
    assert pieces[-1] == (300, 303)
    assert all(end - begin <= 64 for begin, end in pieces)
    assert [a[1] - b[0] for a, b in itertools.pairwise(pieces[:-1])] == [2, 2, 2]
    assert pieces[-2][1] == 200


@pytest.mark.parametrize(("gps", "t0", "missing"), [
    (105.0, 104, []),
    (105.1, 104.25, []),  # the first sample at or after the window's begin
    (104.0, 103, []),
    (103.9, 103.0, []),
    (101.0, 100, [(100, 101)]),
    (110.5, 109.5, [(111, 111.5)]),
    (200.0, 199, [(199, 201)]),
])  # fmt: skip
def test_a_window_has_as_many_samples_for_each_event(gps, t0, missing, tmp_path):
    track = track_of(batch_of(("V1:A", 101.0, 40, 4.0), folder=str(tmp_path)))
    window = cut(track, gps, request(window=(-1, 1)))
    assert window.series.n == 8
    assert window.series.t0 == t0 if not missing else abs(window.series.t0 - t0) < Fraction(1, 4)
    assert window.missing == missing
    if gps == 200:
        assert all(isnan(sample) for block in window.series.blocks() for sample in block)


def test_channels_are_chosen_by_pattern_with_the_target_first():
    batch = batch_of(("V1:A", 100.0, 4, 4.0), ("V1:B", 100.0, 4, 4.0), ("V1:B", 100.0, 8, 8.0), ("V1:C", 100.0, 4, 4.0))

    def names(**about) -> list[str]:
        return [name_of(track) for track in select(batch, request(**about), 100)]

    assert names(channels=("V1:[AC]",)) == ["V1:A", "V1:C"]
    assert names(channels=("V1:A",), target="V1:C") == ["V1:C", "V1:A"]
    assert names(rate=4, target="V1:B") == ["V1:B", "V1:A", "V1:C"]
    with pytest.raises(Ambiguous, match="V1:B"):
        names()
    with pytest.raises(NoData, match="V1:X"):
        names(channels=("V1:X*",))
    with pytest.raises(NoData, match="target"):
        names(channels=("V1:A",), target="V1:X")
    with pytest.raises(SpanTooLong, match="window"):
        names(channels=("V1:A",), window=(-20, 20))
    with pytest.raises(BadRequest, match=r"transform\.frange"):
        names(channels=("V1:A",), layout="spectrograms")
    slow = batch_of(("V1:A", 100.0, 4, 4.0), ("V1:D", 100.0, 8, 8.0))
    with pytest.raises(Ambiguous, match="one rate"):
        select(slow, request(layout="stack"), 100)
    assert 1276 < least_rate((8, 500), 12) < 1277
