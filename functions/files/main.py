"""files: names (GET /dumpF), a segment, block or channel (GET /segment), the newest archives (GET /archives)."""

from __future__ import annotations

import functions_framework.aio

from shared import config, web
from shared.domain.block import media_type
from shared.storage.reader import BatchReader
from shared.web.asgi import asgi_target


def routes(reader: BatchReader) -> web.Routes:
    """The routes of files."""

    def dump(request: web.Request) -> web.Response:
        after, limit, batch = web.pagination(request)
        page = reader.page(after, limit, batch)
        response = web.of_batch(page.batch, web.name_list(page.names))
        return web.next_page(request, response, reader.following(after, limit, page.batch), batch=page.batch)

    def segment(request: web.Request) -> web.Response:
        name, batch = request.query.get("name", ""), request.query.get("batch", "")
        if channel := request.query.get("channel"):
            return web.Response(reader.channel(name, channel, web.seconds(request, "t0"), batch))
        content = reader.segment(name, batch)
        return web.Response(content, type=media_type(content))

    def archives(request: web.Request) -> web.Response:
        after, limit, _ = web.pagination(request)
        return web.json(reader.archives(after, limit))

    return {
        ("GET", "/"): dump,
        ("GET", "/dumpF"): dump,
        ("GET", "/segment"): segment,
        ("GET", "/archives"): archives,
    }


def build() -> web.App:
    """Files on its own: it reads the writer's journal."""
    reader = BatchReader(config.store_from_env())
    return web.App(routes(reader), reader.check)


files = functions_framework.aio.http(asgi_target("files", build))
