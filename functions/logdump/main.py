"""logdump: the log of the stored segments, in order of arrival (GET /dumpLogF), or those of an archive."""

from __future__ import annotations

import itertools

import functions_framework.aio

from shared import config, errors, web
from shared.storage.reader import BatchReader
from shared.web.asgi import asgi_target
from shared.web.bodies import JsonObject
from shared.web.describe import ARCHIVE, BATCH, PAGE, PAGE_HEADERS


def routes(reader: BatchReader) -> web.Routes:
    """The routes of logdump."""

    @web.describe(
        "The log of the open batch, or of an archive, in order of arrival", *PAGE, BATCH, ARCHIVE,
        answer=list[JsonObject], also={204: "the log is empty"}, headers=PAGE_HEADERS,
        errors=(errors.BatchChanged, errors.NoSuchFile),
    )  # fmt: skip
    def dump(request: web.Request) -> web.Response:
        after, limit, batch = web.pagination(request)
        archive = request.query.get("archive", "")
        page = reader.page(after, limit, batch, archive)
        first = next(page.lines, None)
        response = web.Response(status=204) if first is None else web.json_list(itertools.chain([first], page.lines))
        response = web.of_batch(page.batch, response)
        return web.next_page(request, response, reader.following(after, limit, page.batch, archive), batch=page.batch)

    return {("GET", "/"): dump, ("GET", "/dumpLogF"): dump}


def build() -> web.App:
    """Logdump on its own: it reads the writer's journal."""
    reader = BatchReader(config.store_from_env())
    return web.App(routes(reader), reader.check)


logdump = functions_framework.aio.http(asgi_target("logdump", build))
