"""ingest: stores segments and blocks in groups, from plain HTTP (POST /sendF) and from the event `segment`."""

from __future__ import annotations

import atexit

import functions_framework.aio

from shared import auth, config, errors, events, web
from shared.clients.writer import RemoteWriter
from shared.domain.block import format_of
from shared.domain.messages import stored_answer
from shared.ingest.group_commit import GroupCommitter
from shared.web.asgi import asgi_target
from shared.web.bodies import EXAMPLE_SEGMENT, Done, SegmentSchema
from shared.web.describe import KEY


def routes(committer: GroupCommitter) -> web.Routes:
    """The routes of ingest."""

    @web.describe(
        "Store a strain segment, or a block of many channels",
        KEY, body=SegmentSchema, example=EXAMPLE_SEGMENT, answer=Done, status=201,
        done="stored, durable and counted", headers={"Location": "where the segment can be read"},
        errors=(errors.BufferFrozen, errors.KeyReused, errors.KeysFull, errors.StorageFailed),
    )  # fmt: skip
    async def send(request: web.Request) -> web.Response:
        stored = await committer.submit(request.body, request.origin(), request.format)
        return web.json(stored_answer(stored), 201, {"Location": f"/segment?name={stored.name}"})

    def on_segment(request: web.Request, event: events.Event) -> web.Action:
        origin, format = request.origin(event), format_of(request.headers, event.data)
        if format and events.is_binary(request.headers):  # alone in its request: checked like a block without an event

            async def store_block() -> None:
                await committer.submit(event.data, origin, format)

            return store_block
        segment = committer.check_segment(event.data, origin, format)

        async def store() -> None:
            await committer.enqueue(segment)

        return store

    handler = auth.requires(auth.WRITE)(
        web.takes_blocks(web.on_events({events.SEGMENT: on_segment}, send, slice_size=committer.slice_size))
    )
    return {("POST", "/"): handler, ("POST", "/sendF"): handler}


def build() -> web.App:
    """Ingest on its own: payloads go to the volume, commit requests to the writer across HTTP."""
    settings = config.store_from_env()
    committer = GroupCommitter(settings, RemoteWriter.from_config(settings).commit)
    atexit.register(committer.close)
    return web.App(routes(committer), committer.check)


ingest = functions_framework.aio.http(asgi_target("ingest", build))
