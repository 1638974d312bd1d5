"""freeze: closes the batch to new segments (POST /upddsc, or the event `freeze`)."""

from __future__ import annotations

from shared import auth, config, events, web
from shared.clients.writer import RemoteWriter
from shared.domain.commit import Committed, WriterAPI
from shared.domain.messages import updated_answer
from shared.domain.request_key import Origin
from shared.web.wsgi import wsgi_target


def routes(writer: WriterAPI) -> web.Routes:
    """The routes of freeze."""

    def set_status(request: web.Request, body: bytes, origin: Origin) -> Committed:
        update = web.status_update(body)
        return writer.set_status(*request.identity_for_record(update.user, update.token), update.status, origin)

    def update_description(request: web.Request) -> web.Response:
        return web.json(updated_answer(set_status(request, request.body, request.origin())), 201)

    def on_freeze(request: web.Request, event: events.Event) -> None:
        set_status(request, event.data or b"{}", request.origin(event))

    handler = auth.requires(auth.OPERATE, by_body=True)(web.on_events({events.FREEZE: on_freeze}, update_description))
    return {("POST", "/"): handler, ("POST", "/upddsc"): handler}


def build() -> web.App:
    """Freeze on its own: it calls the writer across HTTP."""
    return web.App(routes(RemoteWriter.from_config(config.store_from_env())), lambda: None)


freeze = wsgi_target("freeze", build)
