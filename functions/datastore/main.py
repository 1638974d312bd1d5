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
from functions.logic.status import StatusDocument, read_products
from functions.preproc import main as preproc_function
from shared import auth, config, events, metrics, web
from shared.clients.event_sink import EventSink
from shared.config import AuthMode, auth_from_env
from shared.domain.state import State
from shared.errors import BadRequest, NoSuchRoute
from shared.ingest.group_commit import GroupCommitter
from shared.logic.data_buffer import InProcessBuffer
from shared.logic.service import DatastoreLogic
from shared.preproc.products import listing
from shared.preproc.runner import PreprocRunner
from shared.storage.maintenance import Maintenance
from shared.storage.outbox import Outbox
from shared.storage.reader import BatchReader
from shared.storage.writer import Writer
from shared.web import asgi


def routes(writer: Writer, intake: GroupCommitter, preproc: PreprocRunner, standing: AuthMode) -> web.Routes:
    """Every route of the store. Counts and state come from memory, where they are exact and cost nothing."""

    async def state() -> State:
        current = writer.try_state()
        return current if current is not None else await asyncio.to_thread(writer.state)

    async def stat(request: web.Request) -> web.Response:
        return web.json((await state()).stat)

    async def dstat(request: web.Request) -> web.Response:
        return web.json((await state()).dstat)

    reader = BatchReader(writer.config, lambda: writer.state().segments)
    ingest = ingest_function.routes(intake)
    freeze = freeze_function.routes(writer)
    cleanall = cleanall_function.routes(writer)
    logic = DatastoreLogic(InProcessBuffer(writer, reader, intake), writer.policy)
    products = preproc_function.routes(preproc)
    takes = {events.SEGMENT: ingest, events.FREEZE: freeze, events.CLEANALL: cleanall, events.FROZEN: products}

    @auth.requires(auth.ANY_PRINCIPAL)
    async def event(request: web.Request) -> web.Response:
        if not events.is_event(request.headers):
            raise NoSuchRoute("POST / takes CloudEvents; the store's routes are listed in its documentation")
        types = {event.type for event in events.decode(request.headers, request.body)}
        if len(types) != 1 or (serving := takes.get(next(iter(types)))) is None:
            raise BadRequest(f"one of {', '.join(takes)} is taken, not {', '.join(types) or 'nothing'}")
        auth.authorize(serving["POST", "/"], request)
        return await web.run(serving["POST", "/"], request)

    return {
        **files_function.routes(reader),
        **logdump_function.routes(reader),
        **ingest,
        **freeze,
        **cleanall,
        **products,
        **logic_function.routes(logic, StatusDocument(logic, lambda: read_products(listing(writer.layout)), standing)),
        **glitchflow_function.routes(logic, page="/"),
        ("GET", "/stat"): stat,
        ("GET", "/dstat"): dstat,
        ("POST", "/"): event,
    }


def build() -> web.App:
    """The store, opened, with its background work."""
    settings = config.store_from_env()
    writer = Writer(settings, policy=config.policy_from_env())
    metrics.expose_state(lambda: writer.last_state)
    publish = EventSink.from_config(settings).publish
    preproc = PreprocRunner(settings, publish)
    tasks = [preproc.poll] if settings.preproc_auto and preproc.present() else []
    Maintenance(writer, [*tasks, Outbox(settings, writer, publish).deliver]).start()
    intake = GroupCommitter(settings, writer.commit)
    atexit.register(intake.close)  # before the maintenance closes the writer: handlers run in reverse order
    standing = auth_from_env().mode(settings.host)
    return web.App(routes(writer, intake, preproc, standing), writer.check)


datastore = functions_framework.aio.http(asgi.asgi_target("datastore", build))
