"""W3C Trace Context: the place of a request in a trace, taken over, passed on, and written into facts and log lines.

The trace is the client's. A request without one gets none. The formats are those of https://www.w3.org/TR/trace-context/
and, for events, of CloudEvents' distributed tracing extension, whose attributes have the names of the headers.
"""

from __future__ import annotations

import contextlib
import re
import secrets
from collections.abc import Iterator, Mapping
from contextvars import ContextVar
from typing import NamedTuple

TRACEPARENT, TRACESTATE = "traceparent", "tracestate"
MAX_STATE = 512  # characters of a tracestate; the recommendation asks for no more, and the journal keeps it
_SAMPLED, _KNOWN_FLAGS = 1, 3  # the second flag, of Level 2, says that the trace id is random; others are sent as 0
_value = re.compile(
    r"(?!ff)([0-9a-f]{2})-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})(-.*)?"
).fullmatch


class TraceContext(NamedTuple):
    """The place of a request in a trace.

    Attributes:
        trace_id: 32 hexadecimal digits.
        span_id: 16 hexadecimal digits: this process's part of the trace.
        flags: bit 0: sampled.
        state: the client's tracestate.
        parent_id: the span that caused this one; empty where it is not known.
    """

    trace_id: str
    span_id: str
    flags: int
    state: str = ""
    parent_id: str = ""

    @property
    def sampled(self) -> bool:
        """Whether the client records this trace."""
        return bool(self.flags & _SAMPLED)

    @property
    def members(self) -> dict[str, str]:
        """The headers of a request, the attributes of an event or the members of a record that carry it."""
        members = {TRACEPARENT: f"00-{self.trace_id}-{self.span_id}-{self.flags:02x}"}
        return {**members, TRACESTATE: self.state} if self.state else members


CURRENT: ContextVar[TraceContext | None] = ContextVar("trace", default=None)
"""The trace of the request that is served now."""


def parse(traceparent: object, tracestate: object = "") -> TraceContext | None:
    """The place that a traceparent names; None if it is not valid.

    A later version is read as far as its first four parts. A tracestate that is too long or not printable is left out.
    """
    found = _value(traceparent) if isinstance(traceparent, str) else None
    if found is None or (found[1] == "00" and found[5] is not None):
        return None
    kept = isinstance(tracestate, str) and len(tracestate) <= MAX_STATE
    state = str(tracestate) if kept and str(tracestate).isascii() and str(tracestate).isprintable() else ""
    return TraceContext(found[2], found[3], int(found[4], 16) & _KNOWN_FLAGS, state)


def child(parent: TraceContext | None) -> TraceContext | None:
    """A new span below one of another process."""
    return parent and parent._replace(span_id=secrets.token_hex(8), parent_id=parent.span_id)


def begin(headers: Mapping[str, str]) -> TraceContext | None:
    """Make the trace of a request the current one; header names are in lower case. Every segment passes here."""
    if TRACEPARENT in headers:
        trace = child(parse(headers[TRACEPARENT], headers.get(TRACESTATE, "")))
        CURRENT.set(trace)
        return trace
    if CURRENT.get() is not None:  # of an earlier request: servers begin a task or use a thread in its context
        CURRENT.set(None)
    return None


def outgoing() -> dict[str, str]:
    """What carries the current trace on; empty without one."""
    trace = CURRENT.get()
    return {} if trace is None else trace.members


@contextlib.contextmanager
def within(trace: TraceContext | None) -> Iterator[None]:
    """Do something as part of a trace; None is no trace."""
    token = CURRENT.set(trace)
    try:
        yield
    finally:
        CURRENT.reset(token)
