"""stats: how much the batch holds (GET /stat) and whether it is open (GET /dstat)."""

from __future__ import annotations

from typing import Protocol

from shared import config, targets, web
from shared.reader import Reader


class Stats(Protocol):
    """What stats needs of a store."""

    def stat(self) -> dict[str, object]:
        """`{"n_itm", "buff_size"}`."""

    def dstat(self) -> dict[str, object]:
        """`{"dstatus", "user", "token"}`."""


def routes(store: Stats) -> web.Routes:
    """What stats serves, from whichever store."""
    return {
        ("GET", "/stat"): lambda call: web.json(store.stat()),
        ("GET", "/dstat"): lambda call: web.json(store.dstat()),
    }


def build() -> web.App:
    """Stats on its own: it reads the counts and the state that the writer publishes."""
    reader = Reader(config.from_env())
    return web.App(routes(reader), reader.check)


stats = targets.flask_target("stats", build)
