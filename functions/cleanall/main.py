"""cleanall: archives the batch and opens the next one (POST /cleanall, or the event `cleanall`)."""

from __future__ import annotations

from shared import config, events, web
from shared.clients.writer import RemoteWriter
from shared.domain.commit import WriterAPI
from shared.domain.messages import cleaned_answer
from shared.web.bodies import Done
from shared.web.describe import KEY
from shared.web.wsgi import wsgi_target


def routes(writer: WriterAPI) -> web.Routes:
    """The routes of cleanall."""

    @web.describe("Archive the batch and open the next one", KEY, answer=Done, status=201)
    def archive(request: web.Request) -> web.Response:
        return web.json(cleaned_answer(writer.archive_batch(request.origin())), 201)

    def on_cleanall(request: web.Request, event: events.Event) -> web.Action:
        origin = request.origin(event)

        def clean() -> None:
            writer.archive_batch(origin)

        return clean

    handler = web.small_body(web.on_events({events.CLEANALL: on_cleanall}, archive))
    return {("POST", "/"): handler, ("POST", "/cleanall"): handler}


def build() -> web.App:
    """Cleanall on its own: it calls the writer across HTTP."""
    return web.App(routes(RemoteWriter.from_config(config.store_from_env())), lambda: None)


cleanall = wsgi_target("cleanall", build)
