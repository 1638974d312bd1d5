"""glitchflow: GlitchflowAPI, what clients call; documented at /docs and /openapi.json."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

import functions_framework.aio
import msgspec

from shared import auth, config, openapi, pages, targets, web
from shared.buffer import Counts, Description
from shared.errors import BufferFrozen, FlushFailed
from shared.requests import Message, Operator, read_key
from shared.upstream import RemoteLogic


class Datastore(Protocol):
    """What GlitchflowAPI needs of Datastore Logic; see `Logic`."""

    def stat(self) -> Counts: ...  # noqa: D102
    def dstat(self) -> Description: ...  # noqa: D102
    def names(self, after: str = "", limit: int | None = None) -> Iterable[str]: ...  # noqa: D102
    def freeze(self, user: str, token: str, key: str = "") -> Counts | None: ...  # noqa: D102
    def flush(self, key: str = "") -> str: ...  # noqa: D102
    async def send(self, body: bytes, key: str = "") -> str: ...  # noqa: D102


def routes(datastore: Datastore, page: str) -> web.Routes:
    """What glitchflow serves, over whichever Datastore Logic; `page` is the status page's URL."""

    def dump(call: web.Call) -> web.Reply:
        names = map(msgspec.json.encode, datastore.names(*web.page(call)))
        return web.Reply(web.json_list(names, b'{"nmlist":[', b"]}"))

    @auth.needs(auth.OPERATE, by_body=True)
    def train(call: web.Call) -> web.Reply:
        by = web.read_json(call.body, Operator)
        frozen = datastore.freeze(*call.on_record(by.user, by.token), read_key(call.headers))
        if frozen is None:
            return web.json({"resp": "WAITING"})
        return web.json({"resp": "FROZEN", "n_f": frozen.n_itm, "bt_wrt": frozen.buff_size})

    @auth.needs(auth.WRITE)
    async def streamdata(call: web.Call) -> web.Reply:
        try:
            return web.json({"resp": "CREATED", "body": await datastore.send(call.body, read_key(call.headers))})
        except BufferFrozen as error:
            return web.json({"resp": "FROZEN", "body": str(error)})

    def clean(call: web.Call) -> web.Reply:
        web.read_json(call.body, Message)
        try:
            return web.json({"resp": "CLEANED", "body": datastore.flush(read_key(call.headers))})
        except FlushFailed as error:
            return web.json({"resp": "FS ERR", "body": str(error)})

    @auth.needs(auth.OPEN)
    def status_page(call: web.Call) -> web.Reply:
        return web.Reply(status=303, headers={"Location": page})

    own: web.Routes = {
        ("GET", "/stats"): lambda call: web.json(datastore.stat()),
        ("GET", "/dumpbuf"): dump,
        ("GET", "/desc"): lambda call: web.json({"resp": datastore.dstat().dstatus}),
        ("GET", "/dspage"): status_page,
        ("POST", "/train"): train,
        ("POST", "/streamdata"): streamdata,
        ("POST", "/cleanbuf"): clean,
    }
    answered = {route: web.with_resp(handler) for route, handler in own.items()}
    return {**answered, **openapi.routes(), **pages.docs()}


def build() -> web.App:
    """GlitchflowAPI on its own: it asks Datastore Logic across HTTP."""
    upstream = config.glitchflow_from_env()
    return web.App(routes(RemoteLogic(upstream), upstream.page), lambda: None)


glitchflow = functions_framework.aio.http(targets.asgi_target("glitchflow", build))
