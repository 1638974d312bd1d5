"""files: what is stored: names in order of arrival (GET /dumpF, with optional `limit` and `after`), a segment itself
(GET /segment?name=), and the newest archives (GET /archives).
"""

from __future__ import annotations

from shared import config, web
from shared.storage.reader import BatchReader
from shared.web import asgi


def routes(reader: BatchReader) -> web.Routes:
    """What files serves, from whichever reader."""

    def dump(request: web.Request) -> web.Response:
        names = (f'"{name}"'.encode() for name in reader.names(*web.pagination(request)))
        return web.Response(web.json_list(names, b'{"nmlist":[', b"]}"))

    def segment(request: web.Request) -> web.Response:
        return web.Response(reader.segment(request.query.get("name", "")))

    def archives(request: web.Request) -> web.Response:
        return web.json({"archives": reader.archives()})

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


files = asgi.flask_target("files", build)
