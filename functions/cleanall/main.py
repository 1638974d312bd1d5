"""cleanall: files the batch away and opens the next one (POST /cleanall, or the event `cleanall`)."""

from __future__ import annotations

from typing import Protocol

from shared import config, events, web
from shared.clients.writer import writer_at
from shared.domain.messages import CLEANED
from shared.errors import BadRequest
from shared.web import asgi


class Cleans(Protocol):
    """What cleanall needs of a writer."""

    def archive_batch(self, key: str = "") -> object:
        """Archive the batch and open the next one."""


def routes(writer: Cleans) -> web.Routes:
    """What cleanall serves, on whichever writer."""

    def clean(request: web.Request) -> web.Response:
        if events.is_event(request.headers):
            for event in events.decode(request.headers, request.body):
                if event.type != events.CLEANALL:
                    raise BadRequest(f"cleanall takes {events.CLEANALL}, not {event.type}")
                writer.archive_batch(event.key)
            return web.NO_CONTENT
        writer.archive_batch(request.headers.get("idempotency-key", ""))
        return web.json(CLEANED, 201)

    return {("POST", "/"): clean, ("POST", "/cleanall"): clean}


def build() -> web.App:
    """Cleanall on its own: it asks the writer across HTTP."""
    settings = config.store_from_env()
    return web.App(routes(writer_at(settings)), lambda: None)


cleanall = asgi.flask_target("cleanall", build)
