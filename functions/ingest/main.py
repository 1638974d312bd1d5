"""ingest: takes strain segments, over plain HTTP (POST /sendF) and as CloudEvents, and stores them in groups."""

from __future__ import annotations

import asyncio
import atexit

import functions_framework.aio

from shared import auth, config, events, targets, web
from shared.errors import BadRequest, Unavailable
from shared.intake import Intake
from shared.remote import writer_at
from shared.requests import read_key, written


def routes(intake: Intake) -> web.Routes:
    """What ingest serves, on whichever intake."""

    @auth.needs(auth.WRITE)
    async def send(call: web.Call) -> web.Reply:
        if events.is_event(call.headers):
            return await take_events(call)
        key = read_key(call.headers)
        return web.json(written(await intake.store(call.body, key)), 201)

    async def take(event: events.Event) -> None:
        if event.type != events.SEGMENT:
            raise BadRequest(f"ingest takes {events.SEGMENT}, not {event.type}")
        await intake.store(event.data, event.key)

    async def take_events(call: web.Call) -> web.Reply:
        outcomes = await asyncio.gather(*map(take, events.read(call.headers, call.body)), return_exceptions=True)
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
    settings = config.from_env()
    intake = Intake(settings, writer_at(settings).commit)
    atexit.register(intake.close)
    return web.App(routes(intake), intake.check)


ingest = functions_framework.aio.http(targets.asgi_target("ingest", build))
