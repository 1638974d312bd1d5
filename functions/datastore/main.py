"""datastore: the whole store in one process and on one port, with the writer called directly.

The composition root: the one function that knows several others.
"""

from __future__ import annotations

import asyncio
import atexit
import functools

import functions_framework.aio

from functions.archiver import main as archiver_function
from functions.cleanall import main as cleanall_function
from functions.datasets import main as datasets_function
from functions.datastore.jobs import Jobs
from functions.files import main as files_function
from functions.freeze import main as freeze_function
from functions.glitchflow import main as glitchflow_function
from functions.ingest import main as ingest_function
from functions.logdump import main as logdump_function
from functions.logic import main as logic_function
from functions.logic.status import StatusDocument
from functions.preproc import main as preproc_function
from functions.preproc.listing import product_list
from functions.stats import main as stats_function
from functions.strain import main as strain_function
from shared import config, metrics, web
from shared.clients.event_sink import EventSink
from shared.domain.state import State
from shared.ingest.group_commit import GroupCommitter
from shared.logic.in_process import InProcessBuffer
from shared.logic.service import DatastoreLogic
from shared.storage.maintenance import Maintenance
from shared.storage.outbox import Outbox
from shared.storage.reader import BatchReader
from shared.storage.writer import Writer
from shared.volume import sole_use
from shared.web.asgi import asgi_target


def routes(writer: Writer, committer: GroupCommitter, jobs: Jobs) -> web.Routes:
    """All routes of the store. Counts and status come from memory, where they are exact and cost nothing."""
    preproc, datasets, archives = jobs

    async def state() -> State:
        current = writer.try_state()
        return current if current is not None else await asyncio.to_thread(writer.state)

    async def stat(request: web.Request) -> web.Response:
        counts = (await state()).stat
        return web.json({**counts, "missing": writer.missing_segments} if writer.missing_segments else counts)

    async def dstat(request: web.Request) -> web.Response:
        return web.json((await state()).dstat)

    reader, mode = datasets.reader, config.auth_from_env().mode(writer.config.host)
    logic = DatastoreLogic(InProcessBuffer(writer, reader, committer), writer.policy)
    name, links = writer.config.name, {"documentation": "docs", "products": "products", "metrics": "metrics"}
    made = functools.partial(product_list, preproc)
    status = StatusDocument(logic, made, mode, name=name, links=links, check=writer.check_ready, strain_routes=True)
    with_events = (
        ingest_function.routes(committer), freeze_function.routes(writer), cleanall_function.routes(writer),
        preproc_function.routes(preproc),
    )  # fmt: skip
    others = (
        files_function.routes(reader), logdump_function.routes(reader), datasets_function.routes(datasets),
        archiver_function.routes(archives),
    )  # fmt: skip
    return {
        **{route: handler for routes in (*others, *with_events) for route, handler in routes.items()},
        **strain_function.routes(reader, config.limits_from_env().span, config.strain_from_env()),
        **logic_function.routes(logic, status),
        **glitchflow_function.routes(logic, page="/"),
        ("GET", "/stat"): stats_function.stat(stat),
        ("GET", "/dstat"): stats_function.dstat(dstat),
        ("POST", "/"): web.takes_blocks(web.dispatch_events(served["POST", "/"] for served in with_events)),
    }


def build() -> web.App:
    """The store, opened, with its background work."""
    settings = config.store_from_env()
    sole_use.warn_of_another(settings.adm_root)
    writer = Writer(settings, policy=config.policy_from_env())
    metrics.expose_state(lambda: writer.last_state)
    publish = EventSink.from_config(settings).publish
    soon = 0.8 * config.policy_from_env().min_bytes
    reader = BatchReader(settings, lambda: writer.state().segments)
    jobs = Jobs.of(reader, lambda: writer.state().bytes >= soon)
    Maintenance(writer, [*jobs.tasks(), Outbox(settings, writer, publish).deliver]).start()
    committer = GroupCommitter(settings, writer.commit)
    atexit.register(committer.close)  # before the maintenance closes the writer, because handlers run in reverse order
    return web.App(routes(writer, committer, jobs), writer.check_ready)


datastore = functions_framework.aio.http(asgi_target("datastore", build))
