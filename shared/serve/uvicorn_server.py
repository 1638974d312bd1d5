"""uvicorn, as the asynchronous functions are served: warm from the start, with bounds on what a connection may take."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import MutableMapping
from typing import Any, cast

import uvicorn
from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from shared.config import Limits
from shared.config.limits import KEEP_ALIVE, SHUTDOWN_GRACE, STARTUP_FAILED
from shared.errors import HeaderTooLarge, TooSlow
from shared.web.app import error_response


def serve(app: Any, host: str, port: int, limits: Limits) -> None:
    """Serve an ASGI application until a signal ends it."""
    # The intake's thread makes many short system calls and wants the interpreter back after each; with the default
    # of 5 ms it would wait for the event loop that long.
    sys.setswitchinterval(0.0005)
    _LimitedProtocol.limits = limits
    uvicorn.run(
        _WarmStart(app),
        host=host,
        port=port,
        log_level="warning",
        access_log=False,
        proxy_headers=False,  # nobody asks who the client's proxy says it is
        backlog=2048,
        timeout_graceful_shutdown=SHUTDOWN_GRACE,
        timeout_keep_alive=KEEP_ALIVE,
        server_header=False,
        loop="uvloop",
        http=_LimitedProtocol,
        limit_concurrency=limits.connections,
        lifespan="on",
    )


class _CoalescingTransport:
    """A connection on which all that is written in one turn of the loop leaves together.

    uvicorn writes an answer's head, then its body, and uvloop sends each at once: that is two system calls, and the
    client wakes up for the first in vain.
    """

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport = transport
        self._loop = loop
        self._waiting: list[bytes] = []

    def write(self, data: bytes) -> None:
        if not self._waiting:
            self._loop.call_soon(self._flush)
        self._waiting.append(data)

    def _flush(self) -> None:
        if self._waiting:
            data = b"".join(self._waiting)
            self._waiting.clear()
            if not self._transport.is_closing():  # as when the client has gone since
                self._transport.write(data)

    def close(self) -> None:
        self._flush()
        self._transport.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)


class _LimitedProtocol(HttpToolsProtocol):
    """A connection that bounds how long a request's head is, and how long a request takes to arrive.

    A request costs it next to nothing: it looks twice in `patience` seconds whether still the same one is arriving.
    `scope` is the newest request's; it has a path once its head is complete.
    """

    limits = Limits()

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(cast(asyncio.Transport, _CoalescingTransport(transport, self.loop)))
        self._app = self.app
        self._head = 0  # bytes of an unfinished head
        self._seen: object = None  # the request that was arriving when last looked,
        self._looks = 0  # and in how many looks it was
        self._timer = self.loop.call_later(self.limits.request_timeout / 2, self._check_progress)

    def connection_lost(self, exc: Exception | None) -> None:
        self._timer.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        self._head += len(data)
        if self._head > self.limits.header:  # of a head, or of a body: whose length is counted elsewhere
            self.app = self._measured
        super().data_received(data)
        if self.scope is not None and "path" in self.scope:
            self._head = 0
        elif self._head > self.limits.header:
            self._break_off(self._too_long())

    def _check_progress(self) -> None:
        unfinished = self.scope is None or "path" not in self.scope or self.cycle.more_body
        if not unfinished:
            self._looks = 0
        elif self.scope is self._seen:
            self._looks += 1
        else:
            self._seen, self._looks = self.scope, 1
        if self._looks > 2:  # all the time between the first look and the third, and a little before
            self._break_off(TooSlow(f"the request took longer than {self.limits.request_timeout:g} s to arrive"))
        else:
            self._timer = self.loop.call_later(self.limits.request_timeout / 2, self._check_progress)

    def _too_long(self) -> HeaderTooLarge:
        return HeaderTooLarge(f"the request line and headers are longer than {self.limits.header} bytes")

    async def _measured(self, scope: Scope, receive: Receive, send: Send) -> None:
        lengths = (len(name) + len(value) + 4 for name, value in scope["headers"])
        if len(scope["raw_path"]) + len(scope["query_string"]) + sum(lengths) <= self.limits.header:
            await self._app(scope, receive, send)
            return
        reply = error_response(self._too_long())
        headers = [(b"content-type", reply.type.encode()), (b"connection", b"close")]
        await send({"type": "http.response.start", "status": reply.status, "headers": headers})
        await send({"type": "http.response.body", "body": reply.body})

    def _break_off(self, error: Exception) -> None:
        """Answer, where nothing has been answered yet, and close; the function finds that the client is gone."""
        cycle = self.cycle
        in_head = self.scope is None or "path" not in self.scope
        if (in_head or not cycle.response_started) and not self.transport.is_closing():
            reply = error_response(error)
            head = f"HTTP/1.1 {reply.status} Refused\r\ncontent-type: {reply.type}\r\n"
            body = bytes(reply.body)  # type: ignore[arg-type]
            self.transport.write(f"{head}content-length: {len(body)}\r\nconnection: close\r\n\r\n".encode() + body)
        if cycle is not None:
            cycle.disconnected = True
            cycle.message_event.set()
        self.transport.close()


class _WarmStart:
    """Builds the function when the server starts, not with the first request, by asking whether it is ready."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "lifespan":
            await self._app(scope, receive, send)
            return
        await receive()
        if await self._ask() == STARTUP_FAILED:
            await send({"type": "lifespan.startup.failed", "message": "the function cannot be built, see above"})
            return
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await send({"type": "lifespan.shutdown.complete"})

    async def _ask(self) -> int:
        status = 0
        path = "/health/readiness"
        scope: dict[str, object] = {
            "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": "GET", "scheme": "http",
            "path": path, "raw_path": path.encode(), "query_string": b"", "root_path": "", "headers": [],
            "server": None, "client": None,
        }  # fmt: skip

        async def receive() -> dict[str, object]:
            return {"type": "http.request", "body": b"", "more_body": False}

        async def send(message: MutableMapping[str, Any]) -> None:
            nonlocal status
            status = message.get("status", status)

        await self._app(scope, receive, send)
        return status
