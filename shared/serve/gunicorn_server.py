"""gunicorn for the synchronous functions: one process, whose threads never wait for slow clients."""

from __future__ import annotations

import contextlib
import socket
import sys
import threading
import time
from typing import Any

import flask
from gunicorn.app.base import BaseApplication
from gunicorn.workers.gthread import TConn, ThreadWorker

from shared.config import Limits
from shared.config.limits import KEEP_ALIVE, SHUTDOWN_GRACE, STARTUP_FAILED
from shared.web.messages import REPEATED


class _TimeoutWorker(ThreadWorker):
    """A worker that stops reading a request after its timeout; the response is still written to its end."""

    limits = Limits()

    def init_process(self) -> None:
        self._since: dict[TConn, float] = {}
        threading.Thread(target=self._watch, name="request-timeout", daemon=True).start()
        super().init_process()

    def handle(self, conn: TConn) -> object:
        self._since[conn] = time.monotonic()
        try:
            return super().handle(conn)
        finally:
            del self._since[conn]

    def handle_request(self, req: Any, conn: TConn) -> object:
        # WSGI joins repeated headers, so that nothing behind this method can tell them from one with a comma.
        if [name for name, _ in req.headers].count("IDEMPOTENCY-KEY") > 1:
            req.headers.append((REPEATED.upper(), "true"))
        return super().handle_request(req, conn)

    def _watch(self) -> None:
        while True:
            time.sleep(min(self.limits.request_timeout / 4, 1.0))
            late = time.monotonic() - self.limits.request_timeout
            for conn, since in list(self._since.items()):
                if since < late:
                    with contextlib.suppress(OSError):
                        conn.sock.shutdown(socket.SHUT_RD)


def serve(app: flask.Flask, listener: socket.socket, limits: Limits) -> None:
    """Serve a WSGI application at a bound socket until a signal ends it."""
    _TimeoutWorker.limits = limits

    def warm(worker: Any) -> None:
        if app.test_client().get("/health/readiness").status_code == STARTUP_FAILED:
            sys.exit(3)  # gunicorn does not start another worker after this status

    class Server(BaseApplication):
        def load_config(self) -> None:
            options = {
                "bind": f"fd://{listener.fileno()}",
                "workers": 1,
                "threads": 32,
                "worker_class": _TimeoutWorker,
                "worker_connections": max(limits.connections, 64),
                "limit_request_line": min(limits.header, 8190),
                "limit_request_field_size": limits.header,
                "timeout": 0,
                "graceful_timeout": SHUTDOWN_GRACE,
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
