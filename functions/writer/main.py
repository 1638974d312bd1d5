"""writer: decides what is in the batch; the other functions call it in CloudEvents."""

from __future__ import annotations

from typing import cast

import functions_framework.aio
import msgspec

from functions.writer.passed_on import passed_on
from shared import auth, config, events, metrics, web
from shared.clients.event_sink import EventSink
from shared.decoding import json_decoder
from shared.domain.commit import CommitRequest
from shared.errors import BadRequest
from shared.storage.maintenance import Maintenance
from shared.storage.outbox import Outbox
from shared.storage.writer import Writer
from shared.web.asgi import asgi_target


class _Commit(msgspec.Struct, gc=False):
    data: CommitRequest
    type: str


_commits = json_decoder(list[_Commit])


def routes(writer: Writer, maintenance: Maintenance) -> web.Routes:
    """The routes of the writer: batches of `commit`, the events `freeze` and `cleanall`, and Knative's ping."""

    @web.describe("Wake the maintenance", status=204)
    @web.no_body
    @auth.requires(auth.OPEN)
    def ping(request: web.Request) -> web.Response:
        maintenance.wake()
        return web.NO_CONTENT

    @auth.requires(auth.FREEZE)
    def on_freeze(request: web.Request, event: events.Event) -> web.Action:
        auth.authorize(on_freeze, request)
        update = web.status_update(event.data or b"{}")
        identity = request.identity_for_record(update.user, update.token)
        origin, batch = passed_on(request, event)
        return lambda: web.json(writer.set_status(*identity, update.status, origin, batch))

    @auth.requires(auth.CLEANALL)
    def on_cleanall(request: web.Request, event: events.Event) -> web.Action:
        auth.authorize(on_cleanall, request)
        origin, batch = passed_on(request, event)
        return lambda: web.json(writer.archive_batch(origin, batch))

    def on_ping(request: web.Request, event: events.Event) -> web.Action:
        return lambda: ping(request)

    on_single_event = web.on_events(
        {events.FREEZE: on_freeze, events.CLEANALL: on_cleanall, events.PING: on_ping}, batches=False
    )

    @auth.requires(auth.COMMIT)
    def commit(request: web.Request) -> web.Response:
        auth.authorize(commit, request)
        # One pass without `events.decode`, because this is the data plane and only our own ingest sends it.
        commits = web.decode_json(request.body, _commits.decode)
        if any(item.type != events.COMMIT for item in commits):
            raise BadRequest(f"send batches of {events.COMMIT} only")
        requests = [item.data for item in commits]
        if request.principal is not None and not request.principal.acts_on_behalf:
            requests = [msgspec.structs.replace(item, by=request.caller) for item in requests]
        return web.json(writer.commit(requests))

    @web.describe("Commit, freeze or archive, by CloudEvent")
    @auth.requires((auth.COMMIT, auth.FREEZE, auth.CLEANALL))
    def decide(request: web.Request) -> web.Response:
        if request.headers.get("content-type") == events.BATCH:
            return commit(request)
        return cast(web.Response, on_single_event(request))

    return {("POST", "/"): decide, ("POST", "/ping"): ping}


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
