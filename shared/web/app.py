"""A function as a web application: its routes, its probes and metrics, its limits, and how handlers are run.

A handler takes a `Request` and returns a `Response`. Plain functions may block; `async` ones run on the event loop and
must not. `exchange` admits a request before its handler runs.
"""

from __future__ import annotations

import asyncio
import contextvars
import functools
import inspect
import logging
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar, cast

import msgspec

from shared import auth, metrics
from shared.auth.guard import requirement_of
from shared.config import AuthConfig, Limits, auth_from_env, host_from_env, limits_from_env
from shared.config.limits import CONTROL_BODY
from shared.domain.block import declared_format
from shared.errors import BadRequest, DatastoreError, NoSuchRoute, WrongMethod
from shared.web import openapi
from shared.web.admission import BodyBudget
from shared.web.bodies import JsonObject
from shared.web.conditional import Content, fixed_content, serve
from shared.web.cross_origin import CrossOrigin
from shared.web.describe import TEXT, describe, query_parameters
from shared.web.messages import JSON, Handler, PlainHandler, Request, Response, Routes, text
from shared.web.same_origin import SameOrigin

H = TypeVar("H", bound=Callable[..., object])
log = logging.getLogger(__name__)

PROBES = ("/health/liveness", "/health/readiness")
_threads = ThreadPoolExecutor(64, "handler")  # for plain handlers beside a loop; they mostly wait for disks and peers


class App:
    """The routes of a function, with its probes and metrics.

    Args:
        routes: (method, path) -> handler. A path that ends in `/*` stands for all below it. HEAD is answered as GET.
        check: raises what keeps the function from working. The readiness probe calls it, so it must not block.
        limits: bounds of a request; by default those of the environment.
        trust: accepted credentials; by default those of the environment.
        title: of the OpenAPI document.

    Raises:
        ConfigError: a file that `trust` names cannot be read.
    """

    def __init__(
        self,
        routes: Routes,
        check: Callable[[], object],
        limits: Limits | None = None,
        trust: AuthConfig | None = None,
        title: str = "DT Datastore",
    ) -> None:
        self.limits = limits or limits_from_env()
        trust = trust or auth_from_env()
        self.guard = auth.Guard(trust) if trust.enabled else None
        self.cross_origin = CrossOrigin(trust.cors_origins) if trust.cors_origins else None
        # No page can send a bearer token by itself, so this is for stores without authentication.
        self.same_origin = None if trust.enabled else SameOrigin(trust, host_from_env(), self.cross_origin)
        self.body_budget = BodyBudget(self.limits.total_bodies, self.limits.total_bodies // 2)
        self._check = check
        self._not_ready = ""
        self._title = title
        self._document: tuple[list[object], Content | None] = ([], None)
        self._routes: dict[str, dict[str, Handler]] = {}
        public = auth.requires(auth.OPEN)
        common: dict[tuple[str, str], Handler] = {
            ("GET", PROBES[0]): describe("Whether the process answers", media=(TEXT,))(
                public(lambda request: text("alive\n"))
            ),
            ("GET", PROBES[1]): describe("Whether the function can serve", media=(TEXT,))(
                public(lambda request: self._readiness())
            ),
            # Counts and times without names, because a scraper has no credentials.
            ("GET", "/metrics"): describe("Metrics for Prometheus", media=(TEXT,))(
                public(lambda request: Response(metrics.text(), type=metrics.CONTENT_TYPE))
            ),
            ("GET", "/openapi.json"): self._openapi,
        }
        for (method, path), handler in {**common, **routes}.items():
            self._routes.setdefault(path, {})[method] = handler
        self._takes_blocks = {handler for handler in routes.values() if getattr(handler, "takes_blocks", False)}
        self._max_body = {
            handler: min(self.limits.body, max_body)
            for (method, _), handler in routes.items()
            if (max_body := declared_max_body(handler, method)) is not None
        }

    def handler(self, method: str, path: str) -> Handler:
        """Find the handler of a route.

        Raises:
            NoSuchRoute, WrongMethod: the app has none.
        """
        methods = self._routes.get(path) or self._routes.get("/" + path.strip("/")) or self._wildcard(path)
        if methods is None:
            raise NoSuchRoute(f"nothing is served at {path}")
        found = methods.get("GET" if method == "HEAD" else method)
        if found is None:
            allowed = ", ".join(sorted(methods))
            error = WrongMethod(f"{path} takes {allowed}")
            error.headers = {"Allow": allowed}
            raise error
        return found

    def max_body(self, handler: Handler, headers: Mapping[str, str]) -> int:
        """The longest body that a handler takes in a request with these headers, bytes."""
        if handler in self._takes_blocks and declared_format(headers):
            return self.limits.block
        return self._max_body.get(handler, self.limits.body)

    def check_query(self, method: str, handler: Handler, query: Mapping[str, str]) -> None:
        """Raise BadRequest for what a request must not ask.

        That is a page longer than MAX_PAGE (a list without a `limit` is whole, and streamed), and a parameter that a
        route does not know by which something is changed: without a misspelt `batch` it would change another one.
        """
        if method == "POST" and (known := query_parameters(handler)) and (unknown := query.keys() - known):
            raise BadRequest(f"`{min(unknown)}` is not a parameter here; {' and '.join(sorted(known))} is")
        limit = query.get("limit", "")
        if limit.isdecimal() and (len(limit) > 18 or int(limit) > self.limits.page):
            raise BadRequest(f"`limit` must be at most {self.limits.page}")

    def _wildcard(self, path: str) -> dict[str, Handler] | None:
        while path := path.rpartition("/")[0]:
            if methods := self._routes.get(f"{path}/*"):
                return methods
        return None

    @describe("This document", answer=JsonObject)
    @auth.requires(auth.OPEN)
    def _openapi(self, request: Request) -> Response:
        """The OpenAPI document, made again when an example of this store has changed."""
        routes = [(m, path, h) for path, methods in self._routes.items() for m, h in methods.items()]
        examples = openapi.examples(routes) if self.guard is None else []
        known, content = self._document
        if content is None or known != examples:
            body = msgspec.json.encode(openapi.document(self._title, routes, self.limits.page, self.guard))
            content = fixed_content(JSON, body)
            self._document = examples, content
        return serve(request, content)

    def _readiness(self) -> Response:
        """A probe's answer is seen by nobody, so what keeps the function from being ready is logged, once."""
        try:
            self._check()
        except DatastoreError as error:
            if str(error) != self._not_ready:
                self._not_ready = str(error)
                log.warning("not ready: %s: %s", type(error).__name__, error)
            raise
        self._not_ready = ""
        return text("ready\n")


def max_body(size: int) -> Callable[[H], H]:
    """Declare the longest body that a handler takes, bytes; with 0 a body is not read. By default MAX_BODY."""

    def declare(handler: H) -> H:
        cast(Any, handler).max_body = size
        return handler

    return declare


def takes_blocks(handler: H) -> H:
    """Declare that a handler takes blocks, whose bodies may have MAX_BLOCK bytes."""
    cast(Any, handler).takes_blocks = True
    return handler


no_body = max_body(0)
small_body = max_body(CONTROL_BODY)


def declared_max_body(handler: Handler, method: str) -> int | None:
    """The declared size, None without one. Credentials are read from a short body, because anybody may send one."""
    size: int | None = getattr(handler, "max_body", None)
    return CONTROL_BODY if size is None and requirement_of(handler, method).by_body else size


@functools.cache  # because iscoroutinefunction costs more than the rest of `run`
def is_async(handler: Callable[..., object]) -> bool:
    """True if a handler runs on the event loop: it is `async`, or made by `on_events` of such."""
    return getattr(handler, "is_async", False) or inspect.iscoroutinefunction(handler)


def run(handler: Handler, request: Request) -> Awaitable[Response]:
    """Call a handler from the event loop; a plain one, which may block, on a thread."""
    return handler(request) if is_async(handler) else _run_plain(handler, request)  # type: ignore[return-value]


async def _run_plain(handler: Handler, request: Request) -> Response:
    if request.path in PROBES:  # which must not queue behind requests that wait for a lock
        return cast(PlainHandler, handler)(request)
    context = contextvars.copy_context()  # with the trace; what the handler sets there ends with it
    plain = cast(PlainHandler, handler)
    return await asyncio.get_running_loop().run_in_executor(_threads, context.run, plain, request)
