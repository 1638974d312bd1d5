"""What a job is told when it begins."""

from __future__ import annotations

import io
import sys
from types import SimpleNamespace

import msgspec
import pytest

from shared import config, job_process
from shared.trace_context import CURRENT, parse, within

CAUSE = parse(f"00-{1:032x}-{2:016x}-01", "a=b")


@pytest.mark.parametrize("cause", [CAUSE, None])
def test_a_prepared_job_gets_its_arguments_and_the_trace_of_its_request(monkeypatch, cause):
    order = msgspec.json.encode({"arguments": ["x"], "trace": cause.members if cause else {}}) + b"\n"
    monkeypatch.setattr(sys, "argv", ["job", job_process.WAIT])
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(order)))
    with within(None):
        assert job_process.arguments() == ["x"]
        found = CURRENT.get()
    assert (found and (found.trace_id, found.parent_id, found.state)) == (
        cause and (cause.trace_id, cause.span_id, "a=b")
    )
    assert job_process.arguments() is None  # its order never comes


def test_any_other_job_has_the_trace_in_its_environment():
    assert config.trace_from_env({"TRACEPARENT": "x", "TRACESTATE": "y"}) == ("x", "y")
    assert config.trace_from_env({}) == ("", "")
