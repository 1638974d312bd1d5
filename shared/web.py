"""The edge: what a function sees of HTTP, and the same routes served by Flask or by an ASGI loop. No other module
knows a web framework.

A handler takes a `Call` and returns a `Reply`. Plain functions may block; `async` ones run on the event loop and
must not. What a request may carry, and whether its caller may make it, is decided before a handler runs, by
`access_config.Limits` and `auth.Guard`. Under Flask there is no loop: an `async` handler serves there too, if all that
it awaits is done on the spot (a blocking client behind an `async` interface). Errors are answered from the table in
`errors`; anything unforeseen is a 500 without a traceback in it.
"""

from __future__ import annotations

import asyncio
import functools
import inspect
import logging
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, TypeVar, cast

import flask
import msgspec
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from shared import auth, metrics
from shared.access_config import Limits, Trust, limits_from_env, trust_from_env
from shared.errors import (
    BadRequest,
    BadSegment,
    DatastoreError,
    NoSuchRoute,
    TooSlow,
    Unprocessable,
    WrongMethod,
    answer_for,
)
from shared.room import Held, Room

log = logging.getLogger(__name__)
T = TypeVar("T")

JSON = "application/json"
PROBES = ("/health/liveness", "/health/readiness")
_threads = ThreadPoolExecutor(64, "handler")  # for plain handlers beside a loop; they mostly wait for disks and peers


@dataclass(slots=True)
class Call:
    """A request: header names in lower case, the body whole."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes = b""
    query: Mapping[str, str] = field(default_factory=dict)
    caller: auth.Caller | None = None  # who is asking; None where nobody was asked who they are
    guard: auth.Guard | None = None

    def on_record(self, user: str, token: str) -> tuple[str, str]:
        """The user and token to record, where the request names these; see `auth.on_record`."""
        return auth.on_record(self.caller, user, token)


@dataclass(slots=True)
class Reply:
    """A response; an iterator as body is streamed."""

    body: bytes | Iterator[bytes] = b""
    status: int = 200
    type: str = JSON
    headers: Mapping[str, str] = field(default_factory=dict)


Handler = Callable[[Call], Reply] | Callable[[Call], Awaitable[Reply]]
Routes = Mapping[tuple[str, str], Handler]


def json(value: object, status: int = 200) -> Reply:
    """A JSON reply."""
    return Reply(msgspec.json.encode(value), status)


def text(value: str, status: int = 200) -> Reply:
    """A plain text reply."""
    return Reply(value.encode(), status, "text/plain; charset=utf-8")


NO_CONTENT = Reply(status=204)


def read_json(body: bytes, type: type[T]) -> T:
    """Decode a JSON body whatever its Content-Type.

    Raises:
        BadRequest: it is not JSON of that type; the text says where.
    """
    try:
        return msgspec.json.decode(body, type=type)
    except msgspec.DecodeError as error:
        raise BadRequest(str(error)) from None
    except (UnicodeDecodeError, RecursionError):
        raise BadRequest("the body is not readable as JSON") from None


def page(call: Call) -> tuple[str, int | None]:
    """The `after` and `limit` of a list request.

    Raises:
        BadRequest: `limit` is not a whole number of 1 or more.
    """
    limit = call.query.get("limit")
    if limit is None:
        return call.query.get("after", ""), None
    if not limit.isascii() or not limit.isdecimal() or not 0 < len(limit) < 19 or int(limit) == 0:
        raise BadRequest("`limit` must be a whole number of 1 or more")
    return call.query.get("after", ""), int(limit)


def json_list(items: Iterable[bytes], before: bytes = b"[", after: bytes = b"]") -> Iterator[bytes]:
    """A JSON array of encoded items, as chunks of a few hundred: long lists are never whole in memory."""
    chunk = [before]
    separator = b""
    for item in items:
        chunk.append(separator + item)
        separator = b","
        if len(chunk) == 512:
            yield b"".join(chunk)
            chunk.clear()
    chunk.append(after)
    yield b"".join(chunk)


class App:
    """Routes with their errors, limits, probes and metrics; `asgi_target` and `flask_target` serve it.

    Args:
        routes: (method, path) -> handler; a path that ends in `/*` serves everything below it.
        check: raises what keeps the function from serving; the readiness probe asks it, and it must not block.
        limits: what a request may carry.
        trust: who may make which request.

    Raises:
        ConfigError: a file that `trust` names cannot be used.
    """

    def __init__(
        self, routes: Routes, check: Callable[[], object], limits: Limits | None = None, trust: Trust | None = None
    ) -> None:
        self.limits = limits or limits_from_env()
        trust = trust or trust_from_env()
        self.guard = auth.Guard(trust) if trust.on else None
        self.room = Room(self.limits)
        self._routes: dict[str, dict[str, Handler]] = {}
        own: dict[tuple[str, str], Handler] = {
            ("GET", PROBES[0]): auth.needs(auth.OPEN)(lambda call: text("alive")),
            ("GET", PROBES[1]): auth.needs(auth.OPEN)(lambda call: (check(), text("ready"))[1]),
            # Counts and times, no names: for a monitoring that has no credentials.
            ("GET", "/metrics"): auth.needs(auth.OPEN)(lambda call: Reply(metrics.text(), type=metrics.CONTENT_TYPE)),
        }
        for (method, path), handler in {**own, **routes}.items():
            self._routes.setdefault(path, {})[method] = handler

    def handler(self, method: str, path: str) -> Handler:
        """Find a route.

        Raises:
            NoSuchRoute, WrongMethod: there is none.
        """
        methods = self._routes.get(path) or self._routes.get("/" + path.strip("/")) or self._above(path)
        if methods is None:
            raise NoSuchRoute(f"nothing is served at {path}")
        found = methods.get("GET" if method == "HEAD" else method)
        if found is None:
            allowed = ", ".join(sorted(methods))
            error = WrongMethod(f"{path} takes {allowed}")
            error.headers = {"Allow": allowed}
            raise error
        return found

    def _above(self, path: str) -> dict[str, Handler] | None:
        while path := path.rpartition("/")[0]:
            if methods := self._routes.get(f"{path}/*"):
                return methods
        return None

    def check_query(self, query: Mapping[str, str]) -> None:
        """Raise BadRequest for a page that is too long; without a `limit` lists are whole, and streamed."""
        limit = query.get("limit", "")
        if limit.isdecimal() and (len(limit) > 18 or int(limit) > self.limits.page):
            raise BadRequest(f"`limit` is at most {self.limits.page}")


def failure(error: Exception) -> Reply:
    """The reply to an error, as the table says."""
    answer = answer_for(error)
    metrics.REFUSALS.labels(answer.code).inc()
    headers = {} if answer.retry_after is None else {"Retry-After": str(answer.retry_after)}
    if isinstance(error, DatastoreError):
        message = str(error)
        headers.update(error.headers)
    else:
        log.error("unforeseen error", exc_info=error)
        message = "internal error"
    return Reply(msgspec.json.encode({"code": answer.code, "body": message}), answer.status, headers=headers)


def in_words(error: Exception) -> Reply:
    """The reply to an error whose body is its text alone, as the original's."""
    reply = failure(error)
    return Reply(str(error).encode(), reply.status, "text/plain; charset=utf-8", reply.headers)


def with_resp(handler: Handler) -> Handler:
    """`handler` with its failures in the words of GlitchflowAPI: the code is in `resp` too, where its clients look,
    and a body they got wrong is a 422.
    """

    @functools.wraps(handler)  # what it needs is needed
    async def answered(call: Call) -> Reply:
        try:
            return await run(handler, call)
        except Exception as error:
            reply = failure(Unprocessable(str(error)) if isinstance(error, BadRequest | BadSegment) else error)
            said = msgspec.json.decode(cast(bytes, reply.body))
            reply.body = msgspec.json.encode({"resp": said["code"], **said})
            return reply

    return answered


ASGIApp = Callable[[Scope, Receive, Send], Awaitable[None]]
SERVED: dict[str, ASGIApp] = {}
"""Every asynchronous target of this process, by name, as a plain ASGI application; see `asgi_target`."""


def asgi_target(name: str, build: Callable[[], App]) -> Callable[[Request], Awaitable[Response]]:
    """An asynchronous functions-framework target, which is also registered in `SERVED`.

    `build` is called with the first request, in the process that serves it: the framework imports a function's
    module before it forks, so nothing may be opened earlier.

    Both ways in run the same code. A server of ours takes the one in `SERVED`, since routing and wrapping a request
    in the framework's layers costs as much as all else that the event loop does for it.
    """
    app: App | None = None

    async def serve(scope: Scope, receive: Receive, send: Send) -> None:
        nonlocal app
        held: Held | None = None
        try:
            app = app or build()
            method, path = scope["method"], scope["path"]
            handler = app.handler(method, path)
            headers = {key.decode("latin-1"): value.decode("latin-1") for key, value in scope["headers"]}
            call = Call(method, path, headers)
            if scope["query_string"]:
                call.query = Request(scope).query_params
                app.check_query(call.query)
            if app.guard is not None:
                app.guard.admit(handler, call)
            if method == "POST":
                held = Held(app.room)
                call.body = await _body(headers, receive, held)
                if app.guard is not None:
                    app.guard.admit_by_body(handler, call)
            reply = await run(handler, call)
        except Exception as error:
            reply = failure(error)
        finally:
            if held is not None:
                held.release()
        await _respond(reply, scope, receive, send)

    async def target(request: Request) -> Response:
        return _Deferred(serve)

    target.__name__ = target.__qualname__ = name  # the framework registers a function by its name
    SERVED[name] = serve
    return target


class _Deferred(Response):
    """What the framework is given for a response: the application, which answers when it is sent."""

    def __init__(self, app: ASGIApp) -> None:
        super().__init__()
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._app(scope, receive, send)


async def _respond(reply: Reply, scope: Scope, receive: Receive, send: Send) -> None:
    if not isinstance(reply.body, bytes):
        streamed = StreamingResponse(reply.body, reply.status, dict(reply.headers), reply.type)
        await streamed(scope, receive, send)
        return
    headers = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in reply.headers.items()]
    if reply.status != 204:
        headers += [(b"content-type", reply.type.encode()), (b"content-length", b"%d" % len(reply.body))]
    await send({"type": "http.response.start", "status": reply.status, "headers": headers})
    await send({"type": "http.response.body", "body": reply.body})


async def run(handler: Handler, call: Call) -> Reply:
    """Call a handler from the event loop: a plain one, which may block, on a thread."""
    # Probes must not queue behind requests that wait for a lock.
    if call.path in PROBES or inspect.iscoroutinefunction(handler):
        reply = handler(call)
    else:
        reply = await asyncio.get_running_loop().run_in_executor(_threads, handler, call)
    return reply if isinstance(reply, Reply) else await reply


def _run_now(outcome: Reply | Awaitable[Reply]) -> Reply:
    """What a handler returned, or what its coroutine returns without ever waiting."""
    if isinstance(outcome, Reply):
        return outcome
    waiting = outcome.__await__()
    try:
        next(waiting)
    except StopIteration as done:
        return cast(Reply, done.value)
    raise RuntimeError("an async handler waited, and there is no event loop to wait on")


async def _body(headers: Mapping[str, str], receive: Receive, held: Held) -> bytes:
    declared = headers.get("content-length", "")
    if declared.isdecimal():
        held.grow(int(declared[:19]))
    chunks: list[bytes] = []
    length, more = 0, True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise BadRequest("the client broke off")
        chunks.append(message.get("body", b""))
        length += len(chunks[-1])
        held.grow(length)
        more = message.get("more_body", False)
    return chunks[0] if len(chunks) == 1 else b"".join(chunks)


def _read_body(request: flask.Request, held: Held) -> bytes:
    limits = held.room.limits
    held.grow(request.content_length or 0)
    if "Transfer-Encoding" in request.headers:
        held.grow(limits.body)  # nobody says how long it will be
    began = time.monotonic()
    body = request.stream.read(limits.body + 1)
    if len(body) < (request.content_length or 0):  # the server has hung up on it, or the client
        if time.monotonic() - began < limits.patience / 2:
            raise BadRequest("the client broke off")
        raise TooSlow(f"the request took longer than {limits.patience:g} s to arrive")
    held.grow(len(body))
    return body


def flask_target(name: str, build: Callable[[], App]) -> Callable[[flask.Request], flask.Response]:
    """A synchronous functions-framework target; `build` as in `asgi_target`."""
    app: App | None = None

    def target(request: flask.Request) -> flask.Response:
        nonlocal app
        held: Held | None = None
        try:
            app = app or build()
            handler = app.handler(request.method, request.path)
            headers = {name.lower(): value for name, value in request.headers.items()}
            call = Call(request.method, request.path, headers, b"", request.args)
            app.check_query(call.query)
            if app.guard is not None:
                app.guard.admit(handler, call)
            if request.method == "POST":
                held = Held(app.room)
                call.body = _read_body(request, held)
                if app.guard is not None:
                    app.guard.admit_by_body(handler, call)
            reply: Any = _run_now(handler(call))
        except Exception as error:
            reply = failure(error)
        finally:
            if held is not None:
                held.release()
        response = flask.Response(reply.body, reply.status, dict(reply.headers), content_type=reply.type)
        if reply.status == 204:
            del response.headers["Content-Type"]
        return response

    target.__name__ = target.__qualname__ = name  # the framework registers a function by its name
    return target
