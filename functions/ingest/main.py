"""ingest: takes strain segments, over plain HTTP (POST /sendF) and as CloudEvents, and stores them in groups."""

from __future__ import annotations

import asyncio
import atexit

import functions_framework.aio

from shared import auth, config, events, web
from shared.clients.writer import writer_at
from shared.domain.messages import idempotency_key, stored_answer
from shared.errors import BadRequest, Unavailable
from shared.ingest.group_commit import GroupCommitter
from shared.web import asgi


def routes(intake: GroupCommitter) -> web.Routes:
    """What ingest serves, on whichever intake."""

    @auth.requires(auth.WRITE)
    async def send(request: web.Request) -> web.Response:
        if events.is_event(request.headers):
            return await take_events(request)
        key = idempotency_key(request.headers)
        return web.json(stored_answer(await intake.submit(request.body, key)), 201)

    async def take(event: events.Event) -> None:
        if event.type != events.SEGMENT:
            raise BadRequest(f"ingest takes {events.SEGMENT}, not {event.type}")
        await intake.submit(event.data, event.key)

    async def take_events(request: web.Request) -> web.Response:
        outcomes = await asyncio.gather(
            *map(take, events.decode(request.headers, request.body)), return_exceptions=True
        )
        failures = [outcome for outcome in outcomes if isinstance(outcome, Exception)]
        # Bad events stay bad and the others are recognised when they come again: so whatever can be cured by a
        # retry decides the answer.
        failures.sort(key=lambda error: not isinstance(error, Unavailable))
        if failures:
            raise failures[0]
        return web.NO_CONTENT

    return {("POST", "/"): send, ("POST", "/sendF"): send}


def build() -> web.App:
    """Ingest on its own: payloads go to the volume, records to the writer across HTTP."""
    settings = config.store_from_env()
    intake = GroupCommitter(settings, writer_at(settings).commit)
    atexit.register(intake.close)
    return web.App(routes(intake), intake.check)


ingest = functions_framework.aio.http(asgi.asgi_target("ingest", build))
