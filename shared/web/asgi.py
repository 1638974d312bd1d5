"""Serving routes: the same ones by an ASGI loop or by Flask, as functions-framework targets. No other module of the
library knows a web framework.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import flask
from starlette.requests import Request as StarletteRequest
from starlette.responses import Response as StarletteResponse
from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from shared.errors import BadRequest, TooSlow
from shared.web.admission import Reservation
from shared.web.app import App, Request, Response, error_response, run

ASGIApp = Callable[[Scope, Receive, Send], Awaitable[None]]
ASGI_APPS: dict[str, ASGIApp] = {}
"""Every asynchronous target of this process, by name, as a plain ASGI application; see `asgi_target`."""


def asgi_target(name: str, build: Callable[[], App]) -> Callable[[StarletteRequest], Awaitable[StarletteResponse]]:
    """An asynchronous functions-framework target, which is also registered in `SERVED`.

    `build` is called with the first request, in the process that serves it: the framework imports a function's
    module before it forks, so nothing may be opened earlier.

    Both ways in run the same code. A server of ours takes the one in `SERVED`, since routing and wrapping a request
    in the framework's layers costs as much as all else that the event loop does for it.
    """
    app: App | None = None

    async def serve(scope: Scope, receive: Receive, send: Send) -> None:
        nonlocal app
        held: Reservation | None = None
        try:
            app = app or build()
            method, path = scope["method"], scope["path"]
            handler = app.handler(method, path)
            headers = {key.decode("latin-1"): value.decode("latin-1") for key, value in scope["headers"]}
            call = Request(method, path, headers)
            if scope["query_string"]:
                call.query = StarletteRequest(scope).query_params
                app.check_query(call.query)
            if app.guard is not None:
                app.guard.authenticate(handler, call)
            if method == "POST":
                held = Reservation(app.body_budget)
                call.body = await _body(headers, receive, held)
                if app.guard is not None:
                    app.guard.authenticate_by_body(handler, call)
            reply = await run(handler, call)
        except Exception as error:
            reply = error_response(error)
        finally:
            if held is not None:
                held.release()
        await _respond(reply, scope, receive, send)

    async def target(request: StarletteRequest) -> StarletteResponse:
        return _Deferred(serve)

    target.__name__ = target.__qualname__ = name  # the framework registers a function by its name
    ASGI_APPS[name] = serve
    return target


class _Deferred(StarletteResponse):
    """What the framework is given for a response: the application, which answers when it is sent."""

    def __init__(self, app: ASGIApp) -> None:
        super().__init__()
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._app(scope, receive, send)


async def _respond(reply: Response, scope: Scope, receive: Receive, send: Send) -> None:
    if not isinstance(reply.body, bytes):
        streamed = StreamingResponse(reply.body, reply.status, dict(reply.headers), reply.type)
        await streamed(scope, receive, send)
        return
    headers = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in reply.headers.items()]
    if reply.status != 204:
        headers += [(b"content-type", reply.type.encode()), (b"content-length", b"%d" % len(reply.body))]
    await send({"type": "http.response.start", "status": reply.status, "headers": headers})
    await send({"type": "http.response.body", "body": reply.body})


async def _body(headers: Mapping[str, str], receive: Receive, held: Reservation) -> bytes:
    declared = headers.get("content-length", "")
    if declared.isdecimal():
        held.reserve(int(declared[:19]))
    chunks: list[bytes] = []
    length, more = 0, True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise BadRequest("the client broke off")
        chunks.append(message.get("body", b""))
        length += len(chunks[-1])
        held.reserve(length)
        more = message.get("more_body", False)
    return chunks[0] if len(chunks) == 1 else b"".join(chunks)


def _read_body(request: flask.Request, held: Reservation) -> bytes:
    limits = held.budget.limits
    held.reserve(request.content_length or 0)
    if "Transfer-Encoding" in request.headers:
        held.reserve(limits.body)  # nobody says how long it will be
    began = time.monotonic()
    body = request.stream.read(limits.body + 1)
    if len(body) < (request.content_length or 0):  # the server has hung up on it, or the client
        if time.monotonic() - began < limits.request_timeout / 2:
            raise BadRequest("the client broke off")
        raise TooSlow(f"the request took longer than {limits.request_timeout:g} s to arrive")
    held.reserve(len(body))
    return body


def flask_target(name: str, build: Callable[[], App]) -> Callable[[flask.Request], flask.Response]:
    """A synchronous functions-framework target, for plain handlers only; `build` as in `asgi_target`."""
    app: App | None = None

    def target(request: flask.Request) -> flask.Response:
        nonlocal app
        held: Reservation | None = None
        try:
            app = app or build()
            handler = app.handler(request.method, request.path)
            headers = {name.lower(): value for name, value in request.headers.items()}
            call = Request(request.method, request.path, headers, b"", request.args)
            app.check_query(call.query)
            if app.guard is not None:
                app.guard.authenticate(handler, call)
            if request.method == "POST":
                held = Reservation(app.body_budget)
                call.body = _read_body(request, held)
                if app.guard is not None:
                    app.guard.authenticate_by_body(handler, call)
            reply: Any = handler(call)
        except Exception as error:
            reply = error_response(error)
        finally:
            if held is not None:
                held.release()
        response = flask.Response(reply.body, reply.status, dict(reply.headers), content_type=reply.type)
        if reply.status == 204:
            del response.headers["Content-Type"]
        return response

    target.__name__ = target.__qualname__ = name  # the framework registers a function by its name
    return target
