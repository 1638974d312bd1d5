"""writer: decides what is in the batch; the other functions call it in CloudEvents."""

from __future__ import annotations

from typing import cast

import functions_framework.aio
import msgspec

from shared import auth, config, events, metrics, web
from shared.clients.event_sink import EventSink
from shared.domain.commit import CommitRequest
from shared.domain.request_key import Origin, RequestKey
from shared.errors import BadRequest
from shared.storage.maintenance import Maintenance
from shared.storage.outbox import Outbox
from shared.storage.writer import Writer
from shared.web.asgi import asgi_target


class _PassedOn(msgspec.Struct):
    by: str = ""
    key: RequestKey | None = None


class _Commit(msgspec.Struct):
    data: CommitRequest
    type: str


def routes(writer: Writer, maintenance: Maintenance) -> web.Routes:
    """The routes of the writer: batches of `commit`, the events `freeze` and `cleanall`, and Knative's ping."""

    @web.no_body
    @auth.requires(auth.OPEN)
    def ping(request: web.Request) -> web.Response:
        maintenance.wake()
        return web.NO_CONTENT

    def on_freeze(request: web.Request, event: events.Event) -> web.Action:
        update = web.status_update(event.data or b"{}")
        identity = request.identity_for_record(update.user, update.token)
        origin = _origin(event)
        return lambda: web.json(writer.set_status(*identity, update.status, origin))

    def on_cleanall(request: web.Request, event: events.Event) -> web.Action:
        origin = _origin(event)
        return lambda: web.json(writer.archive_batch(origin))

    def on_ping(request: web.Request, event: events.Event) -> web.Action:
        return lambda: ping(request)

    on_single_event = web.on_events(
        {events.FREEZE: on_freeze, events.CLEANALL: on_cleanall, events.PING: on_ping}, batches=False
    )

    @auth.requires(auth.SERVICE)
    def decide(request: web.Request) -> web.Response:
        if request.headers.get("content-type") != events.BATCH:
            return cast(web.Response, on_single_event(request))
        # One pass without `events.decode`, because this is the data plane and only our own ingest sends it.
        commits = web.read_json(request.body, list[_Commit])
        if any(commit.type != events.COMMIT for commit in commits):
            raise BadRequest(f"send batches of {events.COMMIT} only")
        return web.json(writer.commit([commit.data for commit in commits]))

    return {("POST", "/"): decide, ("POST", "/ping"): ping}


def _origin(event: events.Event) -> Origin:
    """The origin that the calling function passes on; by default the event itself."""
    passed_on = web.read_json(event.data or b"{}", _PassedOn)
    return Origin(passed_on.by, passed_on.key or RequestKey(event.source, event.id))


def build() -> web.App:
    """The writer on its own, with its background work."""
    settings = config.store_from_env()
    writer = Writer(settings, policy=config.policy_from_env())
    metrics.expose_state(lambda: writer.last_state)
    outbox = Outbox(settings, writer, EventSink.from_config(settings).publish)
    maintenance = Maintenance(writer, [outbox.deliver])
    maintenance.start()
    return web.App(routes(writer, maintenance), writer.check_ready, config.writer_limits())


writer = functions_framework.aio.http(asgi_target("writer", build))
