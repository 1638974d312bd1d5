"""Admission of one request: route, query, credentials, memory for its body. The same for ASGI and WSGI."""

from __future__ import annotations

from collections.abc import Mapping

from shared.errors import BodyTooLarge
from shared.web.app import App
from shared.web.messages import Handler, Request


class Exchange:
    """A request on its way to its handler. Making one finds the handler and authenticates, before the body is read.

    Then the adapters, which only move bytes, do in this order:

    1. if `takes_body`, `reserve` while the body arrives, and `accept_body` with the whole of it
    2. call `handler` with `request`
    3. in any case `finish`, when the response exists

    Header names are in lower case.

    Raises, when made:
        NoSuchRoute, WrongMethod, BadRequest, Unauthenticated, Forbidden, SigningKeysUnavailable: not admitted.
    """

    __slots__ = ("_app", "_reserved", "handler", "request", "takes_body")

    handler: Handler
    request: Request
    takes_body: bool

    def __init__(self, app: App, method: str, path: str, headers: Mapping[str, str], query: Mapping[str, str]) -> None:
        self._app = app
        self._reserved = 0
        self.handler = handler = app.handler(method, path)
        self.request = request = Request(method, path, headers, b"", query)
        self.takes_body = method == "POST"
        if query:
            app.check_query(query)
        if app.guard is not None:
            app.guard.authenticate(handler, request)

    def reserve(self, size: int) -> None:
        """Reserve memory for a body of `size` bytes; less than before changes nothing.

        Raises:
            BodyTooLarge: no body may be that long.
            Busy: the bodies of other requests use the budget.
        """
        if size > self._reserved:
            if size > self._app.limits.body:
                raise BodyTooLarge(f"the body must have at most {self._app.limits.body} bytes")
            self._app.body_budget.change(size - self._reserved)
            self._reserved = size

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
            self._app.body_budget.change(-self._reserved)
            self._reserved = 0
