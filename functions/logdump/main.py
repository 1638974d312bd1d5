"""logdump: the log of the stored segments, in order of arrival (GET /dumpLogF, with optional `limit` and `after`)."""

from __future__ import annotations

import itertools

from shared import config, targets, web
from shared.reader import Reader


def routes(reader: Reader) -> web.Routes:
    """What logdump serves, from whichever reader."""

    def dump(call: web.Call) -> web.Reply:
        lines = reader.log(*web.page(call))
        first = next(lines, None)
        if first is None:
            return web.NO_CONTENT
        return web.Reply(web.json_list(itertools.chain([first], lines)))

    return {("GET", "/"): dump, ("GET", "/dumpLogF"): dump}


def build() -> web.App:
    """Logdump on its own: it reads the writer's journal."""
    reader = Reader(config.from_env())
    return web.App(routes(reader), reader.check)


logdump = targets.flask_target("logdump", build)
