"""stats: how much the batch holds (GET /stat) and whether it is open (GET /dstat)."""

from __future__ import annotations

from typing import Protocol

from shared import config, web
from shared.storage.reader import BatchReader
from shared.web import asgi


class Stats(Protocol):
    """What stats needs of a store."""

    def stat(self) -> dict[str, object]:
        """`{"n_itm", "buff_size"}`."""

    def dstat(self) -> dict[str, object]:
        """`{"dstatus", "user", "token"}`."""


def routes(store: Stats) -> web.Routes:
    """What stats serves, from whichever store."""
    return {
        ("GET", "/stat"): lambda request: web.json(store.stat()),
        ("GET", "/dstat"): lambda request: web.json(store.dstat()),
    }


def build() -> web.App:
    """Stats on its own: it reads the counts and the state that the writer publishes."""
    reader = BatchReader(config.store_from_env())
    return web.App(routes(reader), reader.check)


stats = asgi.flask_target("stats", build)
