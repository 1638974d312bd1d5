"""Admission of one request: route, query, credentials, memory for its body. The same for ASGI and WSGI."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from shared.config.limits import CONTROL_BODY
from shared.errors import BadRequest, BodyTooLarge
from shared.web.app import PROBES, App
from shared.web.compression import coding_of, inflate
from shared.web.cross_origin import CrossOrigin
from shared.web.messages import Handler, Request


class Exchange:
    """A request on its way to its handler. Making one finds the handler and authenticates, before the body is read.

    Then the adapters, which only move bytes, do in this order:

    1. if `takes_body`, `expect_body` with its declared length, `reserve` while it arrives, `inflate` if it has
       a `coding`, and `accept_body`
    2. call `handler` with `request`
    3. in any case `finish`, when the response exists

    Header names are in lower case; `parameters` are those of the query.

    Raises, when made:
        NoSuchRoute, WrongMethod, BadRequest, Unauthenticated, Forbidden, SigningKeysUnavailable,
        CrossSite, ForeignHost: not admitted.
        UnsupportedCoding: the body cannot be read.
    """

    __slots__ = ("_app", "_known", "_reserved", "coding", "handler", "max_body", "request", "takes_body")

    handler: Handler
    request: Request
    takes_body: bool
    coding: str
    max_body: int

    def __init__(
        self, app: App, method: str, path: str, headers: Mapping[str, str], parameters: Collection[tuple[str, str]]
    ) -> None:
        query = dict(parameters)
        self._app = app
        self._reserved = 0
        if app.same_origin is not None and path not in PROBES:
            app.same_origin.check(method, headers)
        if method == "OPTIONS" and app.cross_origin is not None and app.cross_origin.is_preflight(method, headers):
            self.handler, self.request = CrossOrigin.grant, Request(method, path, headers, b"", query)
            self.takes_body = False
            return
        self.handler = handler = app.handler(method, path)
        self.request = request = Request(method, path, headers, b"", query)
        self.max_body = app.max_body(handler, headers)
        self.takes_body = method == "POST" and self.max_body > 0
        self.coding = (
            coding_of(headers["content-encoding"]) if self.takes_body and "content-encoding" in headers else ""
        )
        self._known = True
        if query:
            app.check_query(method, handler, query)
            if len(query) < len(parameters):
                raise BadRequest(f"`{_repeated(parameters)}` stands twice; send each parameter once")
        if app.guard is not None:
            app.guard.authenticate(handler, request)
            self._known = request.principal is not None
            if not self._known:
                self.max_body = min(self.max_body, CONTROL_BODY)

    def expect_body(self, length: int) -> None:
        """Check the declared length of a body. It takes no memory, because none of it has arrived.

        Raises:
            BodyTooLarge: no body may be that long.
            Busy: the bodies of other requests leave no memory for it.
        """
        self._check_length(length)
        self._app.body_budget.check(length)

    def reserve(self, size: int) -> None:
        """Take memory for `size` bytes of the body that have arrived; less than before changes nothing.

        Raises:
            BodyTooLarge: no body may be that long.
            Busy: the bodies of other requests use the budget.
        """
        if size > self._reserved:
            if size > self.max_body:
                self._check_length(size)
            self._app.body_budget.change(size - self._reserved, self._known)
            self._reserved = size

    def _check_length(self, length: int) -> None:
        if length > self.max_body:
            raise BodyTooLarge(f"the body must have at most {self.max_body} bytes")

    def _take(self, size: int) -> None:
        self._app.body_budget.change(size - self._reserved, self._known)
        self._reserved = size

    def inflate(self, body: bytes) -> bytes:
        """Inflate the whole body; memory is taken while it grows. It may take a while for a long one.

        Raises:
            BadRequest: it is not what its Content-Encoding says.
            BodyTooLarge: it is longer than a body may be.
            Busy: the bodies of other requests use the budget.
        """
        arrived = self._reserved

        def reserve(length: int) -> None:
            self._check_length(length)
            self._take(arrived + length)

        inflated = inflate(body, self.coding, reserve)
        self._take(len(inflated))
        return inflated

    def accept_body(self, body: bytes) -> None:
        """Take the whole body, and authenticate by it where the route allows that.

        Raises:
            Unauthenticated, Forbidden: not admitted.
        """
        self.request.body = body
        if self._app.guard is not None:
            self._app.guard.authenticate_by_body(self.handler, self.request)

    def finish(self) -> None:
        """Return the body's memory to the budget."""
        if self._reserved:
            self._app.body_budget.change(-self._reserved, self._known)
            self._reserved = 0


def _repeated(parameters: Collection[tuple[str, str]]) -> str:
    names = [name for name, _ in parameters]
    return next(name for name in names if names.count(name) > 1)[:40]
