"""gunicorn for the synchronous functions: one process, whose threads do not wait long for slow clients."""

from __future__ import annotations

import contextlib
import functools
import selectors
import socket
import struct
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

import flask
from gunicorn import util
from gunicorn.app.base import BaseApplication
from gunicorn.glogging import Logger
from gunicorn.workers.gthread import TConn, ThreadWorker

from shared.config import Limits
from shared.config.limits import KEEP_ALIVE, SHUTDOWN_GRACE, STARTUP_FAILED
from shared.web.messages import REPEATED

_THREADS = 64


class _Logger(Logger):
    """gunicorn's lines, in the form of ours."""

    def setup(self, cfg: Any) -> None:
        super().setup(cfg)
        self.error_log.handlers.clear()
        self.error_log.propagate = True


class _TimeoutWorker(ThreadWorker):
    """A worker that bounds how long a client may hold a thread, by sending slowly or by not reading.

    No thread waits for the first byte of a connection. The response to a slow request is written to its end.
    """

    limits = Limits()

    def init_process(self) -> None:
        self._since: dict[TConn, float] = {}
        threading.Thread(target=self._watch, name="request-timeout", daemon=True).start()
        super().init_process()

    def enqueue_req(self, conn: TConn) -> None:
        if conn.initialized or conn.data_ready:
            super().enqueue_req(conn)
            return
        timeout = self.limits.control_timeout
        sent_within = struct.pack("ll", int(timeout), int(timeout % 1 * 1e6))
        conn.sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, sent_within)
        conn.timeout = time.monotonic() + timeout
        self.pending_conns.append(conn)
        self.poller.register(conn.sock, selectors.EVENT_READ, functools.partial(self.on_pending_socket_readable, conn))

    def handle(self, conn: TConn) -> object:
        self._since[conn] = time.monotonic()
        try:
            kept = super().handle(conn)
        finally:
            del self._since[conn]
        if not kept:
            util.close_graceful(conn.sock)  # here, because it may wait for the client
        return kept

    def finish_request(self, conn: TConn, fs: Future[object]) -> None:
        if fs.cancelled() or fs.result():
            super().finish_request(conn, fs)
        else:
            self.nr_conns -= 1

    def handle_request(self, req: Any, conn: TConn) -> object:
        # WSGI joins repeated headers, so that nothing behind this method can tell them from one with a comma.
        if [name for name, _ in req.headers].count("IDEMPOTENCY-KEY") > 1:
            req.headers.append((REPEATED.upper(), "true"))
        try:
            return super().handle_request(req, conn)
        except (BlockingIOError, TimeoutError) as error:  # the client does not read
            conn.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            conn.sock.close()  # at once, with what the kernel keeps of the response
            raise StopIteration from error

    def _watch(self) -> None:
        while True:
            time.sleep(min(self.limits.control_timeout / 4, 1.0))
            late = time.monotonic() - self.limits.control_timeout
            for conn, since in list(self._since.items()):
                if since < late:
                    with contextlib.suppress(OSError):
                        conn.sock.shutdown(socket.SHUT_RD)


def serve(app: flask.Flask, listener: socket.socket, limits: Limits, begin: Callable[[], object]) -> None:
    """Serve a WSGI application at a bound socket until a signal ends it.

    `begin` is called in the process that serves.
    """
    _TimeoutWorker.limits = limits

    def warm(worker: Any) -> None:
        begin()
        if app.test_client().get("/health/readiness").status_code == STARTUP_FAILED:
            sys.exit(3)  # gunicorn does not start another worker after this status

    class Server(BaseApplication):
        def load_config(self) -> None:
            options = {
                "bind": f"fd://{listener.fileno()}",
                "workers": 1,
                "threads": _THREADS,
                "worker_class": _TimeoutWorker,
                "worker_connections": max(limits.connections, 2 * _THREADS),
                "limit_request_line": min(limits.header, 8190),
                "limit_request_field_size": limits.header,
                "timeout": 0,
                "graceful_timeout": SHUTDOWN_GRACE,
                "keepalive": KEEP_ALIVE,
                "loglevel": "warning",
                "logger_class": _Logger,
                "control_socket_disable": True,
                "post_worker_init": warm,
            }
            for name, value in options.items():
                self.cfg.set(name, value)

        def load(self) -> flask.Flask:
            return app

    Server().run()
