"""cleanall: files the batch away and opens the next one (POST /cleanall, or the event `cleanall`)."""

from __future__ import annotations

from typing import Protocol

from shared import config, events, targets, web
from shared.errors import BadRequest
from shared.remote import writer_at
from shared.requests import CLEANED


class Cleans(Protocol):
    """What cleanall needs of a writer."""

    def cleanall(self, key: str = "") -> object:
        """Archive the batch and open the next one."""


def routes(writer: Cleans) -> web.Routes:
    """What cleanall serves, on whichever writer."""

    def clean(call: web.Call) -> web.Reply:
        if events.is_event(call.headers):
            for event in events.read(call.headers, call.body):
                if event.type != events.CLEANALL:
                    raise BadRequest(f"cleanall takes {events.CLEANALL}, not {event.type}")
                writer.cleanall(event.key)
            return web.NO_CONTENT
        writer.cleanall(call.headers.get("idempotency-key", ""))
        return web.json(CLEANED, 201)

    return {("POST", "/"): clean, ("POST", "/cleanall"): clean}


def build() -> web.App:
    """Cleanall on its own: it asks the writer across HTTP."""
    settings = config.from_env()
    return web.App(routes(writer_at(settings)), lambda: None)


cleanall = targets.flask_target("cleanall", build)
