"""Spans: requests that are served, for whoever exports them. Only requests whose client samples their trace."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import NamedTuple

from shared.trace_context import TraceContext


class Span(NamedTuple):
    """A served request; times in nanoseconds since 1970."""

    trace: TraceContext
    method: str
    path: str
    status: int
    begin: int
    end: int


EXPORTERS: list[Callable[[Span], object]] = []
"""What gets every span; filled by the server. They must not block."""


def export(trace: TraceContext | None, method: str, path: str, status: int, begin: float) -> None:
    """Export the span of a request; `begin` is `time.monotonic()` at its arrival."""
    if EXPORTERS and trace is not None and trace.sampled:
        end = time.time_ns()
        span = Span(trace, method, path, status, end - int((time.monotonic() - begin) * 1e9), end)
        for exporter in EXPORTERS:
            exporter(span)
