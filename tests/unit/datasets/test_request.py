"""Requests for training sets: each field that cannot be used is named, and what is left out has its default."""

from __future__ import annotations

import json

import msgspec
import pytest

from shared.datasets.request import MAX_EVENTS, Request, check, exact
from shared.errors import BadRequest
from shared.web.messages import read_json


def read(**about) -> Request:
    body = {"name": "train", "events": [100.5], **about}
    return check(read_json(json.dumps({k: v for k, v in body.items() if v is not None}).encode(), Request))


def test_a_request_has_defaults_and_its_events_in_order_once():
    request = read(events=[102, 100.5, 100.5])
    assert request.events == [100.5, 102.0]
    assert (request.window, request.channels, request.layout) == ((-4.0, 4.0), ("*",), "annalisa")
    assert (request.batch, request.incomplete, request.transform.shape) == ("open", "drop", (64, 257))
    assert check(msgspec.json.decode(msgspec.json.encode(request), type=Request)) == request
    assert read(events={"peaks": {"channel": "V1:X"}}).events.peaks.threshold == 20  # type: ignore[union-attr]


@pytest.mark.parametrize(("about", "says"), [
    ({"name": None}, "`name`"),
    ({"name": ""}, "`name`"),
    ({"name": ".hidden"}, "`name`"),
    ({"name": "a/b"}, "`name`"),
    ({"name": "a\n"}, "`name`"),
    ({"name": "x" * 65}, "`name`"),
    ({"name": "x.tar"}, "`name`"),
    ({"events": None}, "`events`"),
    ({"events": []}, "`events`"),
    ({"events": [-1]}, "`events`"),
    ({"events": [2**31]}, "`events`"),
    ({"events": "all"}, "$.events"),
    ({"events": [1.0] * (MAX_EVENTS + 1)}, "`events`"),
    ({"events": {}}, "`events`"),
    ({"events": {"every": 8, "peaks": {"channel": "V1:X"}}}, "`events`"),
    ({"events": {"evry": 8}}, "evry"),
    ({"events": {"every": 0}}, "`events.every`"),
    ({"events": {"peaks": {"channel": ""}}}, "`events.peaks.channel`"),
    ({"events": {"peaks": {"channel": "V1:X", "threshold": 0}}}, "`events.peaks.threshold`"),
    ({"events": {"peaks": {"channel": "V1:X", "frange": [500, 20]}}}, "`events.peaks.frange`"),
    ({"events": {"peaks": {"channel": "V1:X", "q": 3}}}, "`events.peaks.q`"),
    ({"events": {"peaks": {"channel": "V1:X", "min_separation": -1}}}, "`events.peaks.min_separation`"),
    ({"events": {"table": {"content": "", "format": "hdf5"}}}, "`events.table.format`"),
    ({"window": [4, -4]}, "`window`"),
    ({"window": [0, 5000]}, "`window`"),
    ({"window": [1]}, "$.window"),
    ({"channels": []}, "`channels`"),
    ({"channels": [""]}, "`channels`"),
    ({"rate": 0}, "`rate`"),
    ({"batch": "all"}, "`batch`"),
    ({"batch": ""}, "`batch`"),
    ({"layout": "frames"}, "$.layout"),
    ({"incomplete": "zero"}, "$.incomplete"),
    ({"incomplete": "drop-channel", "layout": "stack"}, "`incomplete`"),
    ({"transform": {"shape": [1, 257]}}, "`transform.shape`"),
    ({"transform": {"shape": [1 << 12, 1 << 12]}}, "`transform.shape`"),
    ({"chanels": ["*"]}, "chanels"),
])  # fmt: skip
def test_a_field_that_cannot_be_used_is_named(about, says):
    with pytest.raises(BadRequest) as refused:
        read(**about)
    assert says in str(refused.value)


def test_a_time_means_the_digits_that_were_sent():
    assert exact(1126259462.42) * 100 == 112625946242
