"""Trace contexts: what is valid, what is passed on, and that one request's trace is not another's."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared import events, trace_context
from shared.trace_context import CURRENT, MAX_STATE, begin, child, outgoing, parse, within

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
VALID = f"00-{TRACE}-{SPAN}-01"
INVALID = [
    "", "x", f"00-{TRACE}-{SPAN}", f"{VALID}-", f"{VALID}-more", f" {VALID}", f"{VALID}\n", f"{VALID},{VALID}",
    f"ff-{TRACE}-{SPAN}-01", f"0-{TRACE}-{SPAN}-01", f"0x-{TRACE}-{SPAN}-01", f"00-{'0' * 32}-{SPAN}-01",
    f"00-{TRACE}-{'0' * 16}-01", f"00-{TRACE.upper()}-{SPAN}-01", f"00-{TRACE[1:]}-{SPAN}-01", f"00-{TRACE}-{SPAN}0-01",
    f"00-{TRACE}-{SPAN}-1", f"00-{TRACE}-{SPAN}-0g", f"00_{TRACE}_{SPAN}_01", f"01-{TRACE}-{SPAN}-01x",
    f"00-{TRACE[:-1]}\u0661-{SPAN}-01",
]  # fmt: skip


@pytest.fixture(autouse=True)
def _no_trace():
    with within(None):
        yield


@pytest.mark.parametrize("text", [*INVALID, None, 5, [VALID], {"traceparent": VALID}])
def test_what_is_no_traceparent_is_ignored(text):
    assert parse(text, "a=b") is None
    if isinstance(text, str):
        assert begin({"traceparent": text}) is None
        assert outgoing() == {}


@given(st.text())
def test_no_text_is_an_error(text):
    assert parse(text) is None
    found = parse(VALID, text)
    assert found is not None
    assert found.state in ("", text)


@pytest.mark.parametrize(
    "text", [VALID, f"01-{TRACE}-{SPAN}-01", f"cc-{TRACE}-{SPAN}-01-what-comes", f"{VALID[:-2]}f9"]
)
def test_a_valid_one_goes_on_in_the_version_that_is_known_with_the_flags_that_are(text):
    found = parse(text)
    assert found is not None
    assert found.members == {"traceparent": VALID}
    assert found.sampled


def test_a_request_gets_a_span_of_its_own_below_its_clients():
    trace = begin({"traceparent": f"{VALID[:-2]}02", "tracestate": "rojo=1, congo=t61"})
    assert trace is not None
    assert (trace.trace_id, trace.parent_id, trace.sampled) == (TRACE, SPAN, False)
    assert trace.span_id not in (SPAN, "0" * 16)
    assert CURRENT.get() == trace
    assert outgoing() == {"traceparent": f"00-{TRACE}-{trace.span_id}-02", "tracestate": "rojo=1, congo=t61"}
    other = begin({"traceparent": VALID})
    assert other is not None
    assert other.span_id != trace.span_id
    assert begin({"tracestate": "a=b"}) is None  # which means nothing by itself
    assert CURRENT.get() is None


@pytest.mark.parametrize("state", ["a" * (MAX_STATE + 1), "a=b\r\nEvil: yes", "a=\u00e4", None, 5])
def test_a_tracestate_that_cannot_be_passed_on_is_left_out(state):
    found = parse(VALID, state)
    assert found is not None
    assert found.members == {"traceparent": VALID}


def test_a_part_of_another_trace_ends_with_it():
    with within(parse(VALID)):
        assert outgoing() == {"traceparent": VALID}
        with within(None):
            assert outgoing() == {}
        assert outgoing() == {"traceparent": VALID}
    assert outgoing() == {}
    assert child(None) is None


@pytest.mark.parametrize("value", [VALID, "garbage", 5, None, [], {"a": 1}])
def test_the_attributes_of_an_event_are_read_in_every_mode_and_never_refused(value):
    about = {"specversion": "1.0", "id": "1", "source": "/s", "type": events.FREEZE, "data": {}}
    body = json.dumps({**about, "traceparent": value, "tracestate": "a=b"}).encode()
    [structured] = events.decode({"content-type": events.STRUCTURED}, body)
    [batched] = events.decode({"content-type": events.BATCH}, b"[" + body + b"]")
    found = [structured, batched]
    if isinstance(value, str):
        headers = {f"ce-{name}": str(value) for name, value in about.items() if name != "data"}
        found += events.decode({**headers, "ce-traceparent": value, "ce-tracestate": "a=b"}, b"{}")
    for event in found:
        trace = trace_context.parse(event.traceparent, event.tracestate)
        assert (trace.members if trace else {}) == (
            {"traceparent": VALID, "tracestate": "a=b"} if value == VALID else {}
        )


def test_an_event_carries_the_current_trace():
    with within(parse(VALID, "a=b")):
        _, body = events.encode(events.FROZEN, "/s", "1", {})
    [event] = events.decode({"content-type": events.STRUCTURED}, body)
    assert (event.traceparent, event.tracestate) == (VALID, "a=b")
    assert b"trace" not in events.encode(events.FROZEN, "/s", "1", {})[1]
