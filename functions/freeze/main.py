"""freeze: closes the batch to new segments (POST /upddsc, or the event `freeze`)."""

from __future__ import annotations

from typing import Protocol

from shared import auth, config, events, web
from shared.clients.writer import writer_at
from shared.domain.messages import status_update
from shared.domain.state import FROZEN
from shared.errors import BadRequest
from shared.web import asgi


class Freezes(Protocol):
    """What freeze needs of a writer."""

    def set_status(self, user: str, token: str, status: str = FROZEN, key: str = "") -> object:
        """Freeze the batch, or set its state explicitly."""


def routes(writer: Freezes) -> web.Routes:
    """What freeze serves, on whichever writer."""

    def apply(request: web.Request, body: bytes, key: str) -> None:
        update = status_update(body)
        writer.set_status(*request.identity_for_record(update.user, update.token), update.dstatus, key)

    @auth.requires(auth.OPERATE, by_body=True)
    def freeze_batch(request: web.Request) -> web.Response:
        if events.is_event(request.headers):
            for event in events.decode(request.headers, request.body):
                if event.type != events.FREEZE:
                    raise BadRequest(f"freeze takes {events.FREEZE}, not {event.type}")
                apply(request, event.data or b"{}", event.key)
            return web.NO_CONTENT
        apply(request, request.body, request.headers.get("idempotency-key", ""))
        return web.json({"code": "STAT_UPD", "body": "Table updated"}, 201)

    return {("POST", "/"): freeze_batch, ("POST", "/upddsc"): freeze_batch}


def build() -> web.App:
    """Freeze on its own: it asks the writer across HTTP."""
    settings = config.store_from_env()
    return web.App(routes(writer_at(settings)), lambda: None)


freeze = asgi.flask_target("freeze", build)
