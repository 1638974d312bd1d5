"""glitchflow: GlitchflowAPI, what clients call; documented at /docs and /openapi.json."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

import functions_framework.aio
import msgspec

from functions.glitchflow import openapi, pages
from shared import auth, config, web
from shared.clients.services import RemoteLogic
from shared.domain.messages import CleanRequest, TrainRequest, idempotency_key
from shared.errors import BufferFrozen, FlushFailed
from shared.logic.data_buffer import Counts, Description
from shared.web import asgi


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

    def dump(request: web.Request) -> web.Response:
        names = map(msgspec.json.encode, datastore.names(*web.pagination(request)))
        return web.Response(web.json_list(names, b'{"nmlist":[', b"]}"))

    @auth.requires(auth.OPERATE, by_body=True)
    def train(request: web.Request) -> web.Response:
        by = web.read_json(request.body, TrainRequest)
        frozen = datastore.freeze(*request.identity_for_record(by.user, by.token), idempotency_key(request.headers))
        if frozen is None:
            return web.json({"resp": "WAITING"})
        return web.json({"resp": "FROZEN", "n_f": frozen.n_itm, "bt_wrt": frozen.buff_size})

    @auth.requires(auth.WRITE)
    async def streamdata(request: web.Request) -> web.Response:
        try:
            return web.json(
                {"resp": "CREATED", "body": await datastore.send(request.body, idempotency_key(request.headers))}
            )
        except BufferFrozen as error:
            return web.json({"resp": "FROZEN", "body": str(error)})

    def clean(request: web.Request) -> web.Response:
        web.read_json(request.body, CleanRequest)
        try:
            return web.json({"resp": "CLEANED", "body": datastore.flush(idempotency_key(request.headers))})
        except FlushFailed as error:
            return web.json({"resp": "FS ERR", "body": str(error)})

    @auth.requires(auth.OPEN)
    def status_page(request: web.Request) -> web.Response:
        return web.Response(status=303, headers={"Location": page})

    own: web.Routes = {
        ("GET", "/stats"): lambda request: web.json(datastore.stat()),
        ("GET", "/dumpbuf"): dump,
        ("GET", "/desc"): lambda request: web.json({"resp": datastore.dstat().dstatus}),
        ("GET", "/dspage"): status_page,
        ("POST", "/train"): train,
        ("POST", "/streamdata"): streamdata,
        ("POST", "/cleanbuf"): clean,
    }
    answered = {route: web.with_resp(handler) for route, handler in own.items()}
    return {**answered, **openapi.routes(), **pages.routes()}


def build() -> web.App:
    """GlitchflowAPI on its own: it asks Datastore Logic across HTTP."""
    upstream = config.glitchflow_from_env()
    return web.App(routes(RemoteLogic(upstream), upstream.page), lambda: None)


glitchflow = functions_framework.aio.http(asgi.asgi_target("glitchflow", build))
