"""Admission of one request: route, query, credentials, memory for its body. The same for ASGI and WSGI."""

from __future__ import annotations

from collections.abc import Mapping

from shared.web.admission import Reservation
from shared.web.app import App
from shared.web.messages import Handler, Request


class Exchange:
    """A request on its way to its handler. Making one finds the handler and authenticates, before the body is read.

    Then the adapters, which only move bytes, do in this order:

    1. if `reservation` is set, `reservation.reserve` while the body arrives, and `accept_body` with the whole of it
    2. call `handler` with `request`
    3. in any case `finish`, when the response exists

    Raises, when made:
        NoSuchRoute, WrongMethod, BadRequest, Unauthenticated, Forbidden, SigningKeysUnavailable: not admitted.
    """

    __slots__ = ("_app", "handler", "request", "reservation")

    handler: Handler
    request: Request
    reservation: Reservation | None

    def __init__(self, app: App, method: str, path: str, headers: Mapping[str, str], query: Mapping[str, str]) -> None:
        """Header names are in lower case."""
        self._app = app
        self.handler = app.handler(method, path)
        self.request = Request(method, path, headers, b"", query)
        if query:
            app.check_query(query)
        if app.guard is not None:
            app.guard.authenticate(self.handler, self.request)
        self.reservation = Reservation(app.body_budget) if method == "POST" else None

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
        if self.reservation is not None:
            self.reservation.release()
