"""WSGI: serves routes on threads, as a target of functions-framework. The only module that knows Flask."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable

import flask

from shared.config import Limits
from shared.errors import BadRequest, TooSlow
from shared.trace_context import TraceContext, begin
from shared.web.app import App
from shared.web.error_responses import error_response
from shared.web.exchange import Exchange
from shared.web.finish import finish
from shared.web.messages import Response
from shared.web.refusals import REFUSALS
from shared.web.spans import export

_CHUNK = 4096  # bytes read at a time


def wsgi_target(name: str, build: Callable[[], App]) -> Callable[[flask.Request], flask.Response]:
    """Make a synchronous functions-framework target, for plain handlers only; arguments as in `asgi.asgi_target`."""
    app = functools.cache(build)

    def target(request: flask.Request) -> flask.Response:
        exchange: Exchange | None = None
        served: App | None = None
        headers: dict[str, str] = {}
        trace: TraceContext | None = None
        arrived = time.monotonic()
        try:
            headers = {name.lower(): value for name, value in request.headers.items()}
            trace = begin(headers)
            served = app()
            exchange = Exchange(served, request.method, request.path, headers, list(request.args.items(multi=True)))
            if exchange.takes_body:
                body = _read_body(request, exchange, served.limits)
                exchange.accept_body(exchange.inflate(body) if exchange.coding else body)
            response = exchange.handler(exchange.request)
            assert isinstance(response, Response), "a WSGI target takes plain handlers only"
        except Exception as error:
            response = error_response(error)
        finally:
            if exchange is not None:
                exchange.finish()
        response = finish(served, request.method, headers, response)
        if response.status >= 400:
            address = request.remote_addr or "?"
            REFUSALS.note(request.method, request.path, address, exchange.request if exchange else None, response)
        trace = (exchange.request.trace if exchange else None) or trace
        export(trace, request.method, request.path, response.status, arrived)
        answer = flask.Response(response.body, response.status, dict(response.headers), content_type=response.type)
        if response.status in (204, 304):
            del answer.headers["Content-Type"]
        return answer

    target.__name__ = target.__qualname__ = name  # the framework registers a function by its name
    return target


def _read_body(request: flask.Request, exchange: Exchange, limits: Limits) -> bytes:
    exchange.expect_body(request.content_length or 0)
    began = time.monotonic()
    body = b""
    while chunk := request.stream.read(_CHUNK):
        body += chunk
        exchange.reserve(len(body))
    if len(body) < (request.content_length or 0):  # the client closed the connection, or the server after a timeout
        if time.monotonic() - began < limits.control_timeout / 2:
            raise BadRequest("the client closed the connection before the end of the body")
        raise TooSlow(f"the request must arrive within {limits.control_timeout:g} s")
    return body
