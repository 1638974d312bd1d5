"""What is accepted as a segment: times, intervals and names that can be."""

from __future__ import annotations

import json

import pytest

from shared.domain.segment import parse
from shared.errors import BadSegment

GPS = 1126259446.0


def segment(h=(1e-21, 2e-21), t=(GPS, 1 / 4096), **more) -> bytes:
    return json.dumps({"h": list(h), "t": list(t), **more}).encode()


@pytest.mark.parametrize(
    ("t", "words"),
    [
        ((GPS, GPS + 0.000244), "two samples with two times"),  # no sampling interval is 35 years
        ((GPS, 4096.0), "is it a sampling rate"),
        ((GPS, 64.5), "at most 64 s"),
        ((-5.0, 0.25), "GPS time"),
        ((1.1262594624e18, 0.25), "GPS time"),  # nanoseconds
        ((1e300, 0.25), "GPS time"),
        ((GPS, 1e300), "GPS time"),
        ((GPS, 0.0), "must be positive"),
        ((GPS, 5e-324), "must be 1e-09 s or more"),  # samples per second beyond any number
    ],
)
def test_times_and_intervals_that_cannot_be_are_refused(t, words):
    with pytest.raises(BadSegment, match=words):
        parse(segment(t=t))


@pytest.mark.parametrize(
    "t", [(100, 100.25, 100.5, 110, 110.25), (103, 102, 101), (103, 103, 103), (100, 101, 3e9), (-1, 0, 1)]
)
def test_one_time_for_each_sample_must_increase_evenly(t):
    with pytest.raises(BadSegment, match="`t`"):
        parse(segment(h=range(len(t)), t=t))


def test_one_time_for_each_sample_may_be_rounded():
    t = [round(GPS + i / 4096, 5) for i in range(300)]
    assert parse(segment(h=range(300), t=t)).dt == pytest.approx(1 / 4096, rel=1e-3)


@pytest.mark.parametrize(
    "names",
    [
        {"detector": "L1", "channel": "V1:Hrec"},
        {"detector": "v1"},
        {"detector": "V1 "},
        {"detector": "V1\n"},
        {"detector": "../x"},
        {"channel": "V1:Hrec\x00"},
        {"channel": "V1:Hrec hoft"},
    ],
)
def test_names_that_cannot_be_or_contradict_each_other_are_refused(names):
    with pytest.raises(BadSegment, match=r"detector|channel"):
        parse(segment(**names))


@pytest.mark.parametrize("names", [{"detector": "V1", "channel": "V1:Hrec"}, {"channel": "V1:Hrec"}])
def test_the_detector_is_in_the_name_of_the_channel(names):
    found = parse(segment(**names))
    assert (found.detector, found.channel) == ("V1", "V1:Hrec")


@pytest.mark.parametrize(
    "body",
    [
        b'{"h":[1],"h":[2],"t":[1,1]}',
        b'{"h":[1],"\\u0068":[2],"t":[1,1]}',
        b'{"h":[1],"t":[1,1],"t":[2,1]}',
        b'{"detector":"V1","h":[1],"t":[1,1],"detector":"L1"}',
        b'{"channel":"a","h":[1],"t":[1,1],"x":{"y":[{}]},"channel":"b"}',
    ],
)
def test_a_member_twice_is_refused(body):
    with pytest.raises(BadSegment, match="twice"):
        parse(body)


@pytest.mark.parametrize("body", [b'{"h":[1],"t":[1,1],"x":{"h":1,"t":2}}', b'{"x":"\\"h\\"","h":[1],"t":[1,1]}'])
def test_the_same_name_further_inside_is_another_member(body):
    assert parse(body).h == [1.0]
