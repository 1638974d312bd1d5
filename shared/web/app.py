"""What a function sees of HTTP: calls and replies, routes, and how errors are answered. `targets` serves it.

A handler takes a `Call` and returns a `Reply`. Plain functions may block; `async` ones run on the event loop and
must not. What a request may carry, and whether its caller may make it, is decided before a handler runs, by
`access_config.Limits` and `auth.Guard`. Errors are answered from the table in `errors`; anything unforeseen is a 500
without a traceback in it.
"""

from __future__ import annotations

import asyncio
import functools
import inspect
import logging
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TypeVar, cast

import msgspec

from shared import auth, metrics
from shared.auth.principal import Principal
from shared.config import AuthConfig, Limits, auth_from_env, limits_from_env
from shared.errors import (
    BadRequest,
    BadSegment,
    DatastoreError,
    NoSuchRoute,
    Unprocessable,
    WrongMethod,
    error_response_for,
)
from shared.web.admission import BodyBudget

log = logging.getLogger(__name__)
T = TypeVar("T")

JSON = "application/json"
PROBES = ("/health/liveness", "/health/readiness")
_threads = ThreadPoolExecutor(64, "handler")  # for plain handlers beside a loop; they mostly wait for disks and peers


@dataclass(slots=True)
class Request:
    """A request: header names in lower case, the body whole."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes = b""
    query: Mapping[str, str] = field(default_factory=dict)
    principal: Principal | None = None  # who is asking; None where nobody was asked who they are
    guard: auth.Guard | None = None

    def identity_for_record(self, user: str, token: str) -> tuple[str, str]:
        """The user and token to record, where the request names these; see `auth.recorded_identity`."""
        return auth.recorded_identity(self.principal, user, token)


@dataclass(slots=True)
class Response:
    """A response; an iterator as body is streamed."""

    body: bytes | Iterator[bytes] = b""
    status: int = 200
    type: str = JSON
    headers: Mapping[str, str] = field(default_factory=dict)


Handler = Callable[[Request], Response] | Callable[[Request], Awaitable[Response]]
Routes = Mapping[tuple[str, str], Handler]


def json(value: object, status: int = 200) -> Response:
    """A JSON reply."""
    return Response(msgspec.json.encode(value), status)


def text(value: str, status: int = 200) -> Response:
    """A plain text reply."""
    return Response(value.encode(), status, "text/plain; charset=utf-8")


NO_CONTENT = Response(status=204)


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


def pagination(call: Request) -> tuple[str, int | None]:
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
    """Routes with their errors, limits, probes and metrics; `targets` serves it.

    Args:
        routes: (method, path) -> handler; a path that ends in `/*` serves everything below it.
        check: raises what keeps the function from serving; the readiness probe asks it, and it must not block.
        limits: what a request may carry.
        trust: who may make which request.

    Raises:
        ConfigError: a file that `trust` names cannot be used.
    """

    def __init__(
        self, routes: Routes, check: Callable[[], object], limits: Limits | None = None, trust: AuthConfig | None = None
    ) -> None:
        self.limits = limits or limits_from_env()
        trust = trust or auth_from_env()
        self.guard = auth.Guard(trust) if trust.enabled else None
        self.body_budget = BodyBudget(self.limits)
        self._routes: dict[str, dict[str, Handler]] = {}
        own: dict[tuple[str, str], Handler] = {
            ("GET", PROBES[0]): auth.requires(auth.OPEN)(lambda call: text("alive")),
            ("GET", PROBES[1]): auth.requires(auth.OPEN)(lambda call: (check(), text("ready"))[1]),
            # Counts and times, no names: for a monitoring that has no credentials.
            ("GET", "/metrics"): auth.requires(auth.OPEN)(
                lambda call: Response(metrics.text(), type=metrics.CONTENT_TYPE)
            ),
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


def error_response(error: Exception) -> Response:
    """The reply to an error, as the table says."""
    answer = error_response_for(error)
    metrics.REFUSALS.labels(answer.code).inc()
    headers = {} if answer.retry_after is None else {"Retry-After": str(answer.retry_after)}
    if isinstance(error, DatastoreError):
        message = str(error)
        headers.update(error.headers)
    else:
        log.error("unforeseen error", exc_info=error)
        message = "internal error"
    return Response(msgspec.json.encode({"code": answer.code, "body": message}), answer.status, headers=headers)


def in_words(error: Exception) -> Response:
    """The reply to an error whose body is its text alone, as the original's."""
    reply = error_response(error)
    return Response(str(error).encode(), reply.status, "text/plain; charset=utf-8", reply.headers)


def with_resp(handler: Handler) -> Handler:
    """`handler` with its failures in the words of GlitchflowAPI: the code is in `resp` too, where its clients look,
    and a body they got wrong is a 422.
    """

    @functools.wraps(handler)  # what it needs is needed
    async def answered(call: Request) -> Response:
        try:
            return await run(handler, call)
        except Exception as error:
            reply = error_response(Unprocessable(str(error)) if isinstance(error, BadRequest | BadSegment) else error)
            said = msgspec.json.decode(cast(bytes, reply.body))
            reply.body = msgspec.json.encode({"resp": said["code"], **said})
            return reply

    return answered


_is_async = functools.cache(inspect.iscoroutinefunction)  # which takes longer than the rest of `run`


async def run(handler: Handler, call: Request) -> Response:
    """Call a handler from the event loop: a plain one, which may block, on a thread."""
    # Probes must not queue behind requests that wait for a lock.
    if call.path in PROBES or _is_async(handler):
        reply = handler(call)
    else:
        reply = await asyncio.get_running_loop().run_in_executor(_threads, handler, call)
    return reply if isinstance(reply, Response) else await reply
