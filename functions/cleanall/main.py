"""cleanall: archives the batch and opens the next one (POST /cleanall, or the event `cleanall`)."""

from __future__ import annotations

from shared import config, errors, events, web
from shared.clients.writer import RemoteWriter
from shared.domain.commit import WriterAPI
from shared.domain.messages import cleaned_answer
from shared.web.bodies import Done
from shared.web.describe import KEY, MEANT
from shared.web.wsgi import wsgi_target


def routes(writer: WriterAPI) -> web.Routes:
    """The routes of cleanall."""

    @web.describe(
        "Archive the batch and open the next one", KEY, MEANT, answer=Done, status=201, errors=(errors.BatchChanged,)
    )
    def archive(request: web.Request) -> web.Response:
        done = writer.archive_batch(request.origin(), web.whole_number(request, "batch"))
        return web.json(cleaned_answer(done), 201)

    def on_cleanall(request: web.Request, event: events.Event) -> web.Action:
        origin, batch = request.origin(event), web.meant_batch(event.data)

        def clean() -> None:
            writer.archive_batch(origin, batch)

        return clean

    handler = web.small_body(web.on_events({events.CLEANALL: on_cleanall}, archive))
    return {("POST", "/"): handler, ("POST", "/cleanall"): handler}


def build() -> web.App:
    """Cleanall on its own: it calls the writer across HTTP."""
    return web.App(routes(RemoteWriter.from_config(config.store_from_env())), lambda: None)


cleanall = wsgi_target("cleanall", build)
