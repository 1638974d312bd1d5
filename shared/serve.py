"""Serves one function: `python -m shared.serve`, with FUNCTION_TARGET naming it and SERVURL or PORT the address.

The functions-framework loads the function; this module chooses the server's settings that the framework's own
command does not offer: graceful shutdown, a warm start, quiet logs, and for asynchronous functions the short way in.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
from collections.abc import MutableMapping
from pathlib import Path
from typing import Any

import flask
import functions_framework
import uvicorn
from starlette.types import ASGIApp, Receive, Scope, Send

from shared.config import ConfigError, from_env
from shared.web import SERVED

FUNCTIONS = Path(__file__).resolve().parent.parent / "functions"
BROKEN = 500  # the readiness probe's answer where the function could not be built: a configuration error
GRACE = 20  # seconds for requests under way when the process is asked to stop
KEEP_ALIVE = 75  # seconds: a server that hangs up sooner than its clients costs them a request now and then


def main() -> int:
    """Serve until SIGTERM or SIGINT; the exit code says whether that was the reason."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    target = os.environ.get("FUNCTION_TARGET", "datastore")
    source = FUNCTIONS / target / "main.py"
    if not source.is_file():
        print(f"FUNCTION_TARGET={target!r}: must be one of {', '.join(_targets())}", file=sys.stderr)
        return 2
    try:
        settings = from_env()
    except ConfigError as error:
        print(error, file=sys.stderr)
        return 2
    app = functions_framework.create_app(target, str(source), "http")
    # A signal ends the server, which then raises it again: by exiting on it, the store is closed in good order.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    signal.signal(signal.SIGINT, lambda *_: sys.exit(0))
    if isinstance(app, flask.Flask):
        _serve_flask(app, settings.host, settings.port)
    else:
        _serve_asgi(SERVED[target], settings.host, settings.port)
    return 0


def _targets() -> list[str]:
    return sorted(path.parent.name for path in FUNCTIONS.glob("*/main.py"))


def _serve_asgi(app: ASGIApp, host: str, port: int) -> None:
    # The intake's thread makes many short system calls and wants the interpreter back after each; with the default
    # of 5 ms it would wait for the event loop that long.
    sys.setswitchinterval(0.0005)
    uvicorn.run(
        _Warm(app),
        host=host,
        port=port,
        log_level="warning",
        access_log=False,
        backlog=2048,
        timeout_graceful_shutdown=GRACE,
        timeout_keep_alive=KEEP_ALIVE,
        server_header=False,
        loop="uvloop",
        http="httptools",
        lifespan="on",
    )


class _Warm:
    """Builds the function when the server starts, not with the first request, by asking whether it is ready."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "lifespan":
            await self._app(scope, receive, send)
            return
        await receive()
        if await self._ask() == BROKEN:
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


def _serve_flask(app: flask.Flask, host: str, port: int) -> None:
    from gunicorn.app.base import BaseApplication

    def warm(worker: Any) -> None:
        if app.test_client().get("/health/readiness").status_code == BROKEN:
            sys.exit(3)  # which gunicorn takes as: do not try again

    class Server(BaseApplication):
        def load_config(self) -> None:
            options = {
                "bind": f"{host}:{port}",
                "workers": 1,
                "threads": 32,
                "worker_class": "gthread",
                "timeout": 0,
                "graceful_timeout": GRACE,
                "keepalive": KEEP_ALIVE,
                "loglevel": "warning",
                "control_socket_disable": True,
                "post_worker_init": warm,
            }
            for name, value in options.items():
                self.cfg.set(name, value)

        def load(self) -> flask.Flask:
            return app

    Server().run()


if __name__ == "__main__":
    sys.exit(main())
