"""stats: the counts of the batch (GET /stat), and its status (GET /dstat)."""

from __future__ import annotations

import functions_framework.aio

from shared import config, web
from shared.domain.messages import Counts
from shared.storage.reader import BatchReader
from shared.web.asgi import asgi_target
from shared.web.bodies import Status

stat = web.describe("Counts of the batch", service="stats", answer=Counts)
dstat = web.describe("Status of the batch, and the operator on record", service="stats", answer=Status)


def routes(reader: BatchReader) -> web.Routes:
    """The routes of stats."""
    return {
        ("GET", "/stat"): stat(lambda request: web.json(reader.stat())),
        ("GET", "/dstat"): dstat(lambda request: web.json(reader.dstat())),
    }


def build() -> web.App:
    """Stats on its own: it reads the counts and the state that the writer publishes."""
    reader = BatchReader(config.store_from_env())
    return web.App(routes(reader), reader.check)


stats = functions_framework.aio.http(asgi_target("stats", build))
