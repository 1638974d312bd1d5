"""freeze: closes the batch to new segments (POST /upddsc, or the event `freeze`)."""

from __future__ import annotations

from collections.abc import Callable

from shared import auth, config, errors, events, web
from shared.clients.writer import RemoteWriter
from shared.domain.commit import Committed, WriterAPI
from shared.domain.messages import updated_answer
from shared.domain.request_key import Origin
from shared.web.bodies import Done, StatusChange
from shared.web.describe import KEY, MEANT
from shared.web.wsgi import wsgi_target


def routes(writer: WriterAPI) -> web.Routes:
    """The routes of freeze."""

    def checked(request: web.Request, body: bytes, origin: Origin, batch: int | None) -> Callable[[], Committed]:
        update = web.status_update(body)
        identity = request.identity_for_record(update.user, update.token)
        return lambda: writer.set_status(*identity, update.status, origin, batch)

    @web.describe(
        "Freeze the batch, whatever its size", KEY, MEANT, body=StatusChange, answer=Done, status=201,
        errors=(errors.BatchChanged,),
        example={"user": "ada", "token": "mine"}, done="frozen, or open again, as the body says",
    )  # fmt: skip
    def update_description(request: web.Request) -> web.Response:
        set_status = checked(request, request.body, request.origin(), web.whole_number(request, "batch"))
        return web.json(updated_answer(set_status()), 201)

    def on_freeze(request: web.Request, event: events.Event) -> web.Action:
        set_status = checked(request, event.data or b"{}", request.origin(event), web.meant_batch(event.data))

        def freeze() -> None:
            set_status()

        return freeze

    handler = auth.requires(auth.OPERATE, by_body=True)(web.on_events({events.FREEZE: on_freeze}, update_description))
    return {("POST", "/"): handler, ("POST", "/upddsc"): handler}


def build() -> web.App:
    """Freeze on its own: it calls the writer across HTTP."""
    return web.App(routes(RemoteWriter.from_config(config.store_from_env())), lambda: None)


freeze = wsgi_target("freeze", build)
