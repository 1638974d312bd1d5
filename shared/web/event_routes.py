"""Routes for CloudEvents: one handler for each type of event, and one route for the events of several functions."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any, cast, overload

from shared import auth, events
from shared.errors import BadRequest, NoSuchRoute, Unavailable
from shared.events import Event
from shared.web.app import is_async, run
from shared.web.messages import NO_CONTENT, AsyncHandler, Handler, PlainHandler, Request, Response

PlainEventHandler = Callable[[Request, Event], Response | None]
AsyncEventHandler = Callable[[Request, Event], Awaitable[Response | None]]
EventHandler = PlainEventHandler | AsyncEventHandler
"""Handles one event of a request. Its response counts only if the request carries no other event."""


@overload
def on_events(
    handlers: Mapping[str, PlainEventHandler], otherwise: PlainHandler | None = None, *, batches: bool = True
) -> PlainHandler: ...
@overload
def on_events(
    handlers: Mapping[str, AsyncEventHandler], otherwise: AsyncHandler | None = None, *, batches: bool = True
) -> AsyncHandler: ...
def on_events(handlers: Mapping[str, Any], otherwise: Handler | None = None, *, batches: bool = True) -> Handler:
    """Make a handler for requests that carry CloudEvents. They are answered 204 unless an event handler responds.

    Plain event handlers run one after another, and the first failure is the response. If any is `async`, all of a
    request's events run at once. Then a failure that a retry can cure is the response, if there is one: good events
    are recognised when the sender retries, and bad events stay bad.

    Args:
        handlers: event type -> handler; all of them plain, or all `async`.
        otherwise: handles requests without events; by default they are refused.
        batches: whether a request may carry several events.
    """
    accepted = " or ".join(handlers)
    concurrent = any(map(is_async, handlers.values()))

    def call(request: Request, event: Event) -> Any:
        if event.type not in handlers:
            raise BadRequest(f"send events of type {accepted}, not {event.type}")
        return handlers[event.type](request, event)

    async def call_async(request: Request, event: Event) -> Response | None:
        response: Response | None = await call(request, event)
        return response

    async def call_at_once(request: Request, received: list[Event]) -> Response:
        outcomes = await asyncio.gather(*(call_async(request, event) for event in received), return_exceptions=True)
        failures = [outcome for outcome in outcomes if isinstance(outcome, BaseException)]
        failures.sort(key=lambda error: not isinstance(error, Unavailable))
        if failures:
            raise failures[0]
        return _response(cast(list[Response | None], outcomes))

    # Not a coroutine, because every segment passes here and one more could be measured.
    def serve(request: Request) -> Any:
        if not events.is_event(request.headers):
            if otherwise is None:
                raise BadRequest(f"send a CloudEvent of type {accepted}")
            return otherwise(request)
        received = events.decode(request.headers, request.body)
        if not batches and len(received) != 1:
            raise BadRequest(f"send one event at a time, not {len(received)}")
        if concurrent:
            return call_at_once(request, received)
        return _response([call(request, event) for event in received])

    handler = cast(Any, serve)
    handler.event_types = tuple(handlers)
    handler.is_async = concurrent
    return cast(Handler, serve)


def dispatch_events(handlers: Iterable[Handler]) -> Handler:
    """Make one route for the events of several handlers, each made by `on_events`.

    The events of a request must have types of the same handler, and the principal must be allowed to call it.
    """
    by_type = {type: handler for handler in handlers for type in cast(Any, handler).event_types}
    accepted = " or ".join(by_type)

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

    return serve


def _response(responses: list[Response | None]) -> Response:
    return (responses[0] if len(responses) == 1 else None) or NO_CONTENT
