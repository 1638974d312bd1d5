"""Routes for CloudEvents: one handler for each type of event, and one route for the events of several functions."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple, cast

from shared import auth, events, trace_context
from shared.decoding import json_decoder
from shared.errors import BadRequest, DatastoreError, NoSuchRoute, Unavailable
from shared.events import Event
from shared.trace_context import CURRENT, TraceContext
from shared.web.app import run
from shared.web.describe import describe, is_described, operations_of
from shared.web.error_responses import encoded, error_response
from shared.web.messages import NO_CONTENT, Handler, Request, Response

Action = Callable[[], Response | None] | Callable[[], Awaitable[Response | None]]
EventHandler = Callable[[Request, Event], Action]
"""Checks one event of a request, and returns the action that it requests.

Checking changes nothing. The action's response counts only if the request carries no other event.
"""


class _Failure(NamedTuple):
    event: Event
    error: Exception


def on_events(
    handlers: Mapping[str, EventHandler],
    otherwise: Handler | None = None,
    *,
    batches: bool = True,
    slice_size: int = 0,
) -> Handler:
    """Make a handler for requests that carry CloudEvents. They are answered 204 unless an action responds.

    All events of a request are checked before the first action begins. Plain actions run one after another until one
    fails. Asynchronous ones run in slices, until a slice has a failure that a retry can cure. Such a failure is the
    response, if there is one: good events are recognised when the sender retries, and bad events stay bad. The response
    to a batch names all events that are not done.

    Args:
        handlers: event type -> handler.
        otherwise: handles requests without events; by default they are refused.
        batches: whether a request may carry several events.
        slice_size: asynchronous actions that run at once; 0 for plain actions.
    """
    accepted = " or ".join(handlers)

    def check(request: Request, event: Event) -> Any:
        if event.type not in handlers:
            raise BadRequest(f"send events of type {accepted}, not {event.type}")
        return handlers[event.type](request, event)

    # Not a coroutine, because every segment passes here and one more could be measured.
    def serve(request: Request) -> Any:
        if not events.is_event(request.headers):
            if otherwise is None:
                raise BadRequest(f"send a CloudEvent of type {accepted}")
            return otherwise(request)
        received = events.decode(request.headers, request.body)
        if not batches and len(received) != 1:
            raise BadRequest(f"send one event at a time, not {len(received)}")
        if len(received) == 1 and (trace := _other_trace(received[0])) is not None:
            request.trace = trace
            CURRENT.set(trace)
        actions, failures = [], []
        for event in received:
            try:
                actions.append(check(request, event))
            except DatastoreError as error:
                failures.append(_Failure(event, error))
        if failures:
            return _answer_async(received, failures) if slice_size else _failed(received, failures)
        return _run_slices(received, actions, slice_size) if slice_size else _run_each(received, actions)

    handler = cast(Any, serve)
    handler.event_types = tuple(handlers)
    handler.is_async = slice_size > 0
    if otherwise is not None and is_described(otherwise):
        handler.operations = operations_of(otherwise)
    return cast(Handler, serve)


def _other_trace(event: Event) -> TraceContext | None:
    """A span in the trace that an event's attributes name, if that is not the trace of its request.

    On its way through a broker an event keeps its attributes: they name the request that caused it. The headers are of
    the last hop, and closer where they belong to the same trace.
    """
    named, current = trace_context.parse(event.traceparent, event.tracestate), CURRENT.get()
    return None if named and current and named.trace_id == current.trace_id else trace_context.child(named)


def _run_each(received: Sequence[Event], actions: Sequence[Callable[[], Response | None]]) -> Response:
    response: Response | None = None
    for done, action in enumerate(actions):
        try:
            with trace_context.within(_other_trace(received[done]) or CURRENT.get()):
                response = action()
        except Exception as error:
            return _failed(received, [_Failure(event, error) for event in received[done:]])
    return (response if len(received) == 1 else None) or NO_CONTENT


async def _run_slices(
    received: Sequence[Event], actions: Sequence[Callable[[], Awaitable[Response | None]]], slice_size: int
) -> Response:
    outcomes: list[Any] = []
    for start in range(0, len(actions), slice_size):
        part = [action() for action in actions[start : start + slice_size]]
        outcomes += await asyncio.gather(*part, return_exceptions=True)
        if cured := next((error for error in outcomes[start:] if isinstance(error, Unavailable)), None):
            outcomes += [cured] * (len(received) - len(outcomes))
            break
    failures = [_Failure(e, o) for e, o in zip(received, outcomes, strict=True) if isinstance(o, Exception)]
    if failures:
        return _failed(received, failures)
    return (outcomes[0] if len(received) == 1 else None) or NO_CONTENT


async def _answer_async(received: Sequence[Event], failures: Sequence[_Failure]) -> Response:
    return _failed(received, failures)


def _failed(received: Sequence[Event], failures: Sequence[_Failure]) -> Response:
    """Answer with a failure that a retry can cure, or with the first, and name the events that are not done.

    Raises:
        Exception: the failure of a request's only event.
    """
    worst = next((error for _, error in failures if isinstance(error, Unavailable)), failures[0].error)
    if len(received) == 1:
        raise worst
    response = error_response(worst)
    content = json_decoder(dict[str, Any]).decode(cast(bytes, response.body))
    named = [
        {"source": event.source, "id": event.id, "code": getattr(error, "code", DatastoreError.code)}
        for event, error in failures
    ]
    response.body = encoded({**content, "failed": named})
    return response


def dispatch_events(handlers: Iterable[Handler]) -> Handler:
    """Make one route for the events of several handlers, each made by `on_events`.

    The events of a request must have types of the same handler, and the principal must be allowed to call it.
    """
    by_type = {type: handler for handler in handlers for type in cast(Any, handler).event_types}
    accepted = " or ".join(by_type)

    @describe("Deliver CloudEvents to the functions of the store", service="events", status=204)
    @auth.requires(auth.ANY_PRINCIPAL)
    async def serve(request: Request) -> Response:
        if not events.is_event(request.headers):
            raise NoSuchRoute("POST / takes CloudEvents; the store's routes are listed in its documentation")
        types = {event.type for event in events.decode(request.headers, request.body)}
        targets = {by_type.get(type) for type in types}
        target = targets.pop() if len(targets) == 1 else None
        if target is None:
            raise BadRequest(f"send events of one type, {accepted}, not {', '.join(sorted(types)) or 'none'}")
        auth.authorize(target, request)
        return await run(target, request)

    cast(Any, serve).event_types = tuple(by_type)
    return serve
