"""What gwpy does for training sets: trigger tables, Q-transforms, peaks of energy."""

from __future__ import annotations

import random
import warnings
from array import array
from math import exp, pi, sin

import pytest

from shared.datasets.peaks import separated
from shared.datasets.request import Peaks, Table, Transform
from shared.errors import BadRequest
from tests.support.extras import needs_preproc

pytestmark = [needs_preproc, pytest.mark.xdist_group("gwpy")]  # imported once


def qtransform():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from shared.datasets import qtransform

        return qtransform


def times(content: str, format: str = "ascii.csv", column: str = "") -> list[float]:
    module = qtransform()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return module.times(Table(content, format, column))


def test_times_come_from_the_usual_column_or_the_named_one():
    assert times("GPStime,snr\n12.5,8\n11.25,9\n12.5,7\n") == [11.25, 12.5]
    assert times("start,GPStime\n1,2\n", column="start") == [1.0]
    assert times("peak_time,peak_time_ns\n11,250000000\n") == [11.25]
    assert times("# time snr\n12.5 8\n", "ascii.commented_header") == [12.5]


@pytest.mark.parametrize(("content", "format", "column", "says"), [
    ("snr\n8\n", "ascii.csv", "", "`events.table.column`"),
    ("time\n8\n", "ascii.csv", "gps", "`events.table.column`"),
    ("time\nnoon\n", "ascii.csv", "", "GPS seconds"),
    ("time\n-1\n", "ascii.csv", "", "GPS seconds"),
    ("<html", "votable", "", "cannot be read"),
    ("\n", "ascii.csv", "", "`events.table.column`"),
])  # fmt: skip
def test_a_table_that_cannot_be_read_is_refused(content, format, column, says):
    with pytest.raises(BadRequest) as refused:
        times(content, format, column)
    assert says in str(refused.value)
    assert "/tmp" not in str(refused.value)


RATE, AT, FREQUENCY = 4096, 5.25, 100.0


def burst(seconds=8) -> array:
    """Noise with a sine-Gaussian at AT."""
    source = random.Random(1)
    samples = array("d")
    for number in range(seconds * RATE):
        t = number / RATE - AT
        samples.append(source.gauss(0, 1) + 10 * exp(-((t / 0.02) ** 2)) * sin(2 * pi * FREQUENCY * t))
    return samples


@pytest.mark.parametrize("whiten", [True, False])
def test_a_burst_is_the_loudest_pixel_of_its_window(whiten):
    import numpy

    energy = qtransform().energy(burst(), RATE, Transform(frange=(20, 500), whiten=whiten))
    assert (energy.shape, energy.dtype) == ((64, 257), numpy.float32)
    inner = energy[:, 40:-40]  # the filters' ends
    row, column = numpy.unravel_index(inner.argmax(), inner.shape)
    assert abs((column + 40) * 8 / 257 - AT) < 0.05
    assert abs(numpy.geomspace(20, 500, 64)[row] / FREQUENCY - 1) < 0.1


def test_a_burst_is_the_only_peak_and_a_silent_channel_is_refused():
    module = qtransform()
    (peak,) = separated(module.loud(burst(), 1000.0, RATE, Peaks("V1:X", threshold=100)), 1.0)
    assert abs(peak.gps - 1000 - AT) < 0.02
    assert abs(peak.frequency / FREQUENCY - 1) < 0.1
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for transform in (Transform(), Transform(whiten=False)):
            with pytest.raises(Exception, match=r".+"):
                module.energy(array("d", [0.0]) * (8 * RATE), RATE, transform)
