"""datastore: the whole store in one process and on one port, with the writer called directly.

The composition root: the one function that knows several others.
"""

from __future__ import annotations

import asyncio
import atexit

import functions_framework.aio

from functions.cleanall import main as cleanall_function
from functions.files import main as files_function
from functions.freeze import main as freeze_function
from functions.glitchflow import main as glitchflow_function
from functions.ingest import main as ingest_function
from functions.logdump import main as logdump_function
from functions.logic import main as logic_function
from functions.preproc import main as preproc_function
from shared import auth, config, events, metrics, targets, web
from shared.access_config import Standing, trust_from_env
from shared.buffer import LocalBuffer
from shared.errors import BadRequest, NoSuchRoute
from shared.intake import Intake
from shared.keeper import Keeper
from shared.logic import Logic
from shared.preproc import Preproc
from shared.products import listing
from shared.reader import Reader
from shared.state import State
from shared.status import Status, read_products
from shared.writer import Writer


def routes(writer: Writer, intake: Intake, preproc: Preproc, standing: Standing) -> web.Routes:
    """Every route of the store. Counts and state come from memory, where they are exact and cost nothing."""

    async def state() -> State:
        current = writer.state_if_current()
        return current if current is not None else await asyncio.to_thread(writer.state)

    async def stat(call: web.Call) -> web.Reply:
        return web.json((await state()).stat)

    async def dstat(call: web.Call) -> web.Reply:
        return web.json((await state()).dstat)

    reader = Reader(writer.config, lambda: writer.state().n_itm)
    ingest = ingest_function.routes(intake)
    freeze = freeze_function.routes(writer)
    cleanall = cleanall_function.routes(writer)
    logic = Logic(LocalBuffer(writer, reader, intake), writer.policy)
    products = preproc_function.routes(preproc)
    takes = {events.SEGMENT: ingest, events.FREEZE: freeze, events.CLEANALL: cleanall, events.FROZEN: products}

    @auth.needs(auth.KNOWN)
    async def event(call: web.Call) -> web.Reply:
        if not events.is_event(call.headers):
            raise NoSuchRoute("POST / takes CloudEvents; the store's routes are listed in its documentation")
        types = {event.type for event in events.read(call.headers, call.body)}
        if len(types) != 1 or (serving := takes.get(next(iter(types)))) is None:
            raise BadRequest(f"one of {', '.join(takes)} is taken, not {', '.join(types) or 'nothing'}")
        auth.permit(serving["POST", "/"], call)
        return await web.run(serving["POST", "/"], call)

    return {
        **files_function.routes(reader),
        **logdump_function.routes(reader),
        **ingest,
        **freeze,
        **cleanall,
        **products,
        **logic_function.routes(logic, Status(logic, lambda: read_products(listing(writer.config)), standing)),
        **glitchflow_function.routes(logic, page="/"),
        ("GET", "/stat"): stat,
        ("GET", "/dstat"): dstat,
        ("POST", "/"): event,
    }


def build() -> web.App:
    """The store, opened, with its background work."""
    settings = config.from_env()
    writer = Writer(settings, policy=config.policy_from_env())
    metrics.show_state(lambda: writer.known_state)
    preproc = Preproc(settings)
    Keeper(writer, [preproc.look] if settings.preproc_auto and preproc.present() else []).start()
    intake = Intake(settings, writer.commit)
    atexit.register(intake.close)  # before the keeper closes the writer: handlers run in reverse order
    standing = trust_from_env().standing(settings.host)
    return web.App(routes(writer, intake, preproc, standing), writer.check)


datastore = functions_framework.aio.http(targets.asgi_target("datastore", build))
