"""uvicorn for the asynchronous functions, warm from the start."""

from __future__ import annotations

import contextlib
import socket
import sys
from collections.abc import Callable, MutableMapping
from typing import Any

import uvicorn
from starlette.types import ASGIApp, Receive, Scope, Send

from shared.config import Limits
from shared.config.limits import KEEP_ALIVE, SHUTDOWN_GRACE, STARTUP_FAILED
from shared.serve.connection import LimitedConnection
from shared.web.asgi import ENDING


def serve(app: Any, listener: socket.socket, limits: Limits, guarded: bool, started: Callable[[], object]) -> None:
    """Serve an ASGI application at a bound socket until a signal ends it.

    `guarded` if requests need credentials; `started` is called when the server takes requests.
    """
    # The thread of group commit makes many short system calls, and needs the interpreter lock back after each. By
    # default the event loop would keep it for 5 ms.
    sys.setswitchinterval(0.0005)
    LimitedConnection.limits = limits
    LimitedConnection.guarded = guarded
    configuration = uvicorn.Config(
        _WarmStart(app),
        log_config=None,  # its lines come as ours
        log_level="warning",
        access_log=False,
        proxy_headers=False,  # X-Forwarded-For is not used
        backlog=2048,
        timeout_graceful_shutdown=SHUTDOWN_GRACE,
        timeout_keep_alive=KEEP_ALIVE,
        server_header=False,
        loop="uvloop",
        http=LimitedConnection,
        ws="none",
        lifespan="on",
    )
    server = _Server(configuration, app, started)
    with contextlib.suppress(KeyboardInterrupt):
        server.run(sockets=[listener])
    if not server.started:
        sys.exit(3)  # uvicorn's own status


class _Server(uvicorn.Server):
    """A server that tells when it takes requests."""

    def __init__(self, configuration: uvicorn.Config, app: ASGIApp, on_start: Callable[[], object]) -> None:
        super().__init__(configuration)
        self._app = app
        self._on_start = on_start

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            self.config.loaded_app = self._app  # new connections need no way around `_WarmStart`
            self._on_start()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        ENDING.set()
        await super().shutdown(sockets)


class _WarmStart:
    """Builds the function when the server starts, by a request to its readiness probe."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "lifespan":
            await self._app(scope, receive, send)
            return
        await receive()
        if await self._readiness() == STARTUP_FAILED:
            await send(
                {
                    "type": "lifespan.startup.failed",
                    "message": "the function cannot be built, see above",
                }
            )
            return
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await send({"type": "lifespan.shutdown.complete"})

    async def _readiness(self) -> int:
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
