"""writer: the one place where it is decided what is in the batch; the other functions ask it, in CloudEvents."""

from __future__ import annotations

import functions_framework.aio
import msgspec

from shared import auth, config, events, metrics, web
from shared.clients.event_sink import EventSink
from shared.config import writer_limits
from shared.domain.commit import CommitRequest
from shared.domain.messages import status_update
from shared.errors import BadRequest
from shared.storage.maintenance import Maintenance
from shared.storage.outbox import Outbox
from shared.storage.writer import Writer
from shared.web import asgi


class _Commit(msgspec.Struct):
    data: CommitRequest
    type: str


def routes(writer: Writer, maintenance: Maintenance) -> web.Routes:
    """What the writer serves: batches of `commit`, the events `freeze` and `cleanall`, and Knative's ping."""

    @auth.requires(auth.OPEN)
    def ping(request: web.Request) -> web.Response:
        maintenance.wake()
        return web.NO_CONTENT

    @auth.requires(auth.SERVICE)
    def decide(request: web.Request) -> web.Response:
        if request.headers.get("content-type") == events.BATCH:
            # Read in one pass: this is the data plane, and only our own ingest speaks to it.
            commits = web.read_json(request.body, list[_Commit])
            if any(commit.type != events.COMMIT for commit in commits):
                raise BadRequest(f"the writer takes batches of {events.COMMIT} only")
            return web.json(writer.commit([commit.data for commit in commits]))
        if not events.is_event(request.headers):
            raise BadRequest("the writer takes CloudEvents only")
        event = events.decode(request.headers, request.body)[0]
        if event.type == events.PING:
            return ping(request)
        if event.type == events.FREEZE:
            update = status_update(event.data or b"{}")
            done = writer.set_status(*request.identity_for_record(update.user, update.token), update.dstatus, event.key)
        elif event.type == events.CLEANALL:
            done = writer.archive_batch(event.key)
        else:
            raise BadRequest(f"the writer does not take {event.type}")
        return web.json({"n_itm": done.state.segments, "buff_size": done.state.bytes, "archive": done.archive})

    return {("POST", "/"): decide, ("POST", "/ping"): ping}


def build() -> web.App:
    """The writer on its own, with its background work."""
    settings = config.store_from_env()
    writer = Writer(settings, policy=config.policy_from_env())
    metrics.expose_state(lambda: writer.last_state)
    outbox = Outbox(settings, writer, EventSink.from_config(settings).publish)
    maintenance = Maintenance(writer, [outbox.deliver])
    maintenance.start()
    return web.App(routes(writer, maintenance), writer.check, writer_limits())


writer = functions_framework.aio.http(asgi.asgi_target("writer", build))
