"""Small servers of the tests' own, each with a handler that a test writes by hand."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import urllib3


@contextlib.contextmanager
def serving(handler: type[BaseHTTPRequestHandler]) -> Iterator[int]:
    """Serve on a free port of loopback, which is yielded."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def done(handler: BaseHTTPRequestHandler, status: int) -> None:
    """Answer a request with a status and nothing else."""
    handler.send_response_only(status)
    handler.send_header("Content-Length", "0")
    handler.end_headers()


def pass_back(handler: BaseHTTPRequestHandler, answer: urllib3.BaseHTTPResponse, names: Sequence[str]) -> None:
    """Answer a request with what another server answered, and those of its headers."""
    handler.send_response_only(answer.status)
    for name in names:
        if name in answer.headers:
            handler.send_header(name, answer.headers[name])
    if answer.status != 204:
        handler.send_header("Content-Length", str(len(answer.data)))
    handler.end_headers()
    handler.wfile.write(answer.data)
