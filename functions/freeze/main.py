"""freeze: closes the batch to new segments (POST /upddsc, or the event `freeze`)."""

from __future__ import annotations

from typing import Protocol

from shared import auth, config, events, targets, web
from shared.errors import BadRequest
from shared.remote import writer_at
from shared.requests import read_update
from shared.state import FROZEN


class Freezes(Protocol):
    """What freeze needs of a writer."""

    def update(self, user: str, token: str, dstatus: str = FROZEN, key: str = "") -> object:
        """Freeze the batch, or set its state explicitly."""


def routes(writer: Freezes) -> web.Routes:
    """What freeze serves, on whichever writer."""

    def apply(call: web.Call, body: bytes, key: str) -> None:
        update = read_update(body)
        writer.update(*call.on_record(update.user, update.token), update.dstatus, key)

    @auth.needs(auth.OPERATE, by_body=True)
    def freeze_batch(call: web.Call) -> web.Reply:
        if events.is_event(call.headers):
            for event in events.read(call.headers, call.body):
                if event.type != events.FREEZE:
                    raise BadRequest(f"freeze takes {events.FREEZE}, not {event.type}")
                apply(call, event.data or b"{}", event.key)
            return web.NO_CONTENT
        apply(call, call.body, call.headers.get("idempotency-key", ""))
        return web.json({"code": "STAT_UPD", "body": "Table updated"}, 201)

    return {("POST", "/"): freeze_batch, ("POST", "/upddsc"): freeze_batch}


def build() -> web.App:
    """Freeze on its own: it asks the writer across HTTP."""
    settings = config.from_env()
    return web.App(routes(writer_at(settings)), lambda: None)


freeze = targets.flask_target("freeze", build)
