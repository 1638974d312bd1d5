"""The segment validator."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings

from shared.domain import segment as segments
from shared.errors import BadSegment
from tests.support.strategies import bodies


@settings(max_examples=1500, deadline=None)
@given(bodies)
def test_the_validator_takes_only_what_a_reader_can_read(body):
    try:
        parsed = segments.parse(body)
    except BadSegment:
        return
    value = json.loads(body.decode(), parse_constant=lambda c: pytest.fail(c))
    assert [float(x) for x in value["h"]] == parsed.h
    assert [float(x) for x in value["t"]] == parsed.t
    assert len(parsed.t) == 2 or len(parsed.t) == len(parsed.h)
    assert all(x == x and abs(x) != float("inf") for x in parsed.h + parsed.t + [parsed.dt])
