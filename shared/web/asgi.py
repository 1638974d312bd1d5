"""ASGI: serves routes on an event loop, as a target of functions-framework. The only module that knows Starlette."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import io
import time
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import parse_qsl

from starlette.requests import Request as StarletteRequest
from starlette.responses import Response as StarletteResponse
from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from shared.errors import BadRequest
from shared.trace_context import TRACEPARENT, TRACESTATE, TraceContext, begin
from shared.web.app import App, run
from shared.web.error_responses import error_response
from shared.web.exchange import Exchange
from shared.web.finish import finish
from shared.web.messages import REPEATED, EndlessBody, Response
from shared.web.refusals import REFUSALS
from shared.web.spans import EXPORTERS, export

AUTHENTICATED = "authenticated"
"""In the `state` of a scope, where a server wants to know: to be called when the connection has shown credentials."""

ANSWERED = "datastore.answered"
"""In a scope: the server has answered the request in the function's place, and logged that."""

_inflaters = ThreadPoolExecutor(2, "inflate")  # so that compressed bodies take no more than two cores
_SHORT = 4  # digits of a length that is not worth a check before the body arrives
_LONG = 1 << 20  # bytes of a body that is written into one piece as it arrives: joined, it would be in memory twice
_TRUSTED = 8  # times what has arrived; so much is allocated for a declared length
ASGIApp = Callable[[Scope, Receive, Send], Awaitable[None]]
ASGI_APPS: dict[str, ASGIApp] = {}
"""Every asynchronous target of this process as a plain ASGI application, by name; see `asgi_target`."""
ENDING = asyncio.Event()
"""Set by the server when it is told to stop: responses without an end then end."""
_LAST_SEND = 1.0  # seconds for a client to take what is left at that time


def asgi_target(name: str, build: Callable[[], App]) -> Callable[[StarletteRequest], Awaitable[StarletteResponse]]:
    """Make an asynchronous functions-framework target, and register it in `ASGI_APPS`.

    Both run the same code. Our own server takes the one in `ASGI_APPS`, because the framework's layers cost as much
    as the rest of a request on the event loop.

    Args:
        name: of the target.
        build: makes the app at the first request, in the process that serves it. The framework imports a function's
            module before it forks, so nothing may be opened earlier.
    """
    app = functools.cache(build)

    async def serve(scope: Scope, receive: Receive, send: Send) -> None:
        exchange: Exchange | None = None
        served: App | None = None
        headers: dict[str, str] = {}
        trace: TraceContext | None = None
        arrived = time.monotonic() if EXPORTERS else 0.0
        try:
            headers = {key.decode("latin-1"): value.decode("latin-1") for key, value in scope["headers"]}
            if len(headers) < len(scope["headers"]):
                _repeated(scope, headers)
            trace = begin(headers)
            query = scope["query_string"].decode("latin-1")
            parameters = parse_qsl(query, keep_blank_values=True) if query else ()
            served = app()
            exchange = Exchange(served, scope["method"], scope["path"], headers, parameters)
            if exchange.takes_body:
                body = await _read_body(headers, receive, exchange)
                if exchange.coding:
                    body = await asyncio.get_running_loop().run_in_executor(_inflaters, exchange.inflate, body)
                exchange.accept_body(body)
            if exchange.request.principal is not None and (report := scope.get("state", {}).get(AUTHENTICATED)):
                report()
            response = await run(exchange.handler, exchange.request)
        except Exception as error:
            response = error_response(error)
        finally:
            if exchange is not None:
                exchange.finish()
        response = finish(served, scope["method"], headers, response)
        if response.status >= 400 and ANSWERED not in scope:
            address = (scope.get("client") or ("?",))[0]
            REFUSALS.note(scope["method"], scope["path"], address, exchange.request if exchange else None, response)
        if EXPORTERS:
            trace = (exchange.request.trace if exchange else None) or trace
            export(trace, scope["method"], scope["path"], response.status, arrived)
        await _respond(response, scope, receive, send)

    async def target(request: StarletteRequest) -> StarletteResponse:
        return _Deferred(serve)

    target.__name__ = target.__qualname__ = name  # the framework registers a function by its name
    ASGI_APPS[name] = serve
    return target


def _repeated(scope: Scope, headers: dict[str, str]) -> None:
    """Correct the headers of a request that carries some of them several times."""
    names = [key for key, _ in scope["headers"]]
    if names.count(b"idempotency-key") > 1:
        headers[REPEATED] = "true"
    if names.count(TRACEPARENT.encode()) > 1:  # which means none
        del headers[TRACEPARENT]
    if names.count(TRACESTATE.encode()) > 1:
        states = (value.decode("latin-1") for key, value in scope["headers"] if key == TRACESTATE.encode())
        headers[TRACESTATE] = ",".join(states)


class _Deferred(StarletteResponse):
    """A response for the framework that runs an ASGI application when it is sent."""

    def __init__(self, app: ASGIApp) -> None:
        super().__init__()
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._app(scope, receive, send)


def encoded(headers: Mapping[str, str]) -> list[tuple[bytes, bytes]]:
    """Headers as ASGI sends them."""
    return [(_encoded_name(name), value.encode("latin-1")) for name, value in headers.items()]


@functools.lru_cache(256)  # the names are the functions' own
def _encoded_name(name: str) -> bytes:
    return name.lower().encode("latin-1")


async def _respond(response: Response, scope: Scope, receive: Receive, send: Send) -> None:
    if response.endless is not None:
        await _stream(response, response.endless, receive, send)
        return
    if not isinstance(response.body, bytes):
        streamed = StreamingResponse(response.body, response.status, dict(response.headers), response.type)
        await streamed(scope, receive, send)
        return
    headers = encoded(response.headers)
    if response.status not in (204, 304):
        headers.append((b"content-type", response.type.encode()))
        if "Content-Length" not in response.headers and (response.body or scope["method"] != "HEAD"):
            headers.append((b"content-length", b"%d" % len(response.body)))
    await send({"type": "http.response.start", "status": response.status, "headers": headers})
    await send({"type": "http.response.body", "body": response.body})


async def _stream(response: Response, body: EndlessBody, receive: Receive, send: Send) -> None:
    """Send a body without an end, until its client goes or the server is told to stop."""
    headers = {**response.headers, "content-type": response.type}

    async def forward() -> None:
        await send({"type": "http.response.start", "status": response.status, "headers": encoded(headers)})
        async for chunk in body:
            await send({"type": "http.response.body", "body": chunk, "more_body": True})

    async def client_gone() -> None:
        while (await receive())["type"] != "http.disconnect":
            pass

    forwarding, gone = asyncio.create_task(forward()), asyncio.create_task(client_gone())
    tasks = [forwarding, gone, asyncio.create_task(ENDING.wait())]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await body.aclose()
    if forwarding in done:
        forwarding.result()  # an error leaves the response without its end, which tells the client
    if gone not in done:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_LAST_SEND):
                await send({"type": "http.response.body", "body": b""})


async def _read_body(headers: Mapping[str, str], receive: Receive, exchange: Exchange) -> bytes:
    declared = headers.get("content-length", "")
    expected = 0
    if len(declared) > _SHORT and declared.isdecimal():
        expected = int(declared[:19])
        exchange.expect_body(expected)
    chunks: list[bytes] = []
    whole: io.BytesIO | None = None
    length = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise BadRequest("the client closed the connection before the end of the body")
        chunk = message.get("body", b"")
        length += len(chunk)
        exchange.reserve(length)
        more = message.get("more_body", False)
        if whole is not None:
            whole.write(chunk)
            if not more:
                return whole.getvalue()  # its own buffer, because that is full
        elif not more:
            return b"".join((*chunks, chunk)) if chunks else chunk
        else:
            chunks.append(chunk)
            if _LONG < expected <= _TRUSTED * length:
                whole = io.BytesIO(bytes(expected))
                whole.writelines(chunks)
                chunks.clear()
