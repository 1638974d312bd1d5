"""files: what is stored: names in order of arrival (GET /dumpF, with optional `limit` and `after`), a segment itself
(GET /segment?name=), and the newest archives (GET /archives).
"""

from __future__ import annotations

from shared import config, targets, web
from shared.reader import Reader


def routes(reader: Reader) -> web.Routes:
    """What files serves, from whichever reader."""

    def dump(call: web.Call) -> web.Reply:
        names = (f'"{name}"'.encode() for name in reader.names(*web.page(call)))
        return web.Reply(web.json_list(names, b'{"nmlist":[', b"]}"))

    def segment(call: web.Call) -> web.Reply:
        return web.Reply(reader.segment(call.query.get("name", "")))

    def archives(call: web.Call) -> web.Reply:
        return web.json({"archives": reader.archives()})

    return {
        ("GET", "/"): dump,
        ("GET", "/dumpF"): dump,
        ("GET", "/segment"): segment,
        ("GET", "/archives"): archives,
    }


def build() -> web.App:
    """Files on its own: it reads the writer's journal."""
    reader = Reader(config.from_env())
    return web.App(routes(reader), reader.check)


files = targets.flask_target("files", build)
