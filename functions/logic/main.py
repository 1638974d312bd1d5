"""logic: Datastore Logic, which decides when a batch may freeze, and shows the status page."""

from __future__ import annotations

import functions_framework.aio
import msgspec

from functions.logic import pages
from functions.logic.status import StatusDocument
from shared import auth, config, web
from shared.clients.broker import BrokerBuffer
from shared.clients.services import RemoteBuffer, RemoteProducts
from shared.config import auth_from_env
from shared.domain.messages import idempotency_key, status_update
from shared.errors import BufferFrozen, FlushFailed
from shared.logic.service import DatastoreLogic
from shared.web import asgi


def routes(logic: DatastoreLogic, status: StatusDocument) -> web.Routes:
    """What logic serves, over whichever Data Buffer."""

    def dump(request: web.Request) -> web.Response:
        names = map(msgspec.json.encode, logic.names(*web.pagination(request)))
        return web.Response(web.json_list(names, b'{"nmlist":[', b"]}"))

    def log(request: web.Request) -> web.Response:
        return web.Response(web.json_list(logic.log(*web.pagination(request))))

    @auth.requires(auth.WRITE)
    async def stream(request: web.Request) -> web.Response:
        try:
            return web.text(await logic.send(request.body, idempotency_key(request.headers)), 201)
        except BufferFrozen as error:
            return web.in_words(error)

    @auth.requires(auth.OPERATE, by_body=True)
    def freeze(request: web.Request) -> web.Response:
        by = status_update(request.body)
        frozen = logic.freeze(*request.identity_for_record(by.user, by.token), idempotency_key(request.headers))
        return web.text("Waiting for more incoming data.") if frozen is None else web.json(frozen, 201)

    def flush(request: web.Request) -> web.Response:
        try:
            return web.Response(logic.flush(idempotency_key(request.headers)).encode(), 201)
        except FlushFailed as error:
            return web.in_words(error)

    return {
        **pages.routes(),
        ("GET", "/status.json"): lambda request: web.json(status.show()),
        ("GET", "/bufstat"): lambda request: web.json(logic.stat()),
        ("GET", "/dsdesc"): lambda request: web.json(logic.dstat()),
        ("GET", "/dumpf"): dump,
        ("GET", "/dumpflog"): log,
        ("POST", "/stream"): stream,
        ("POST", "/freezeds"): freeze,
        ("POST", "/flushbuf"): flush,
    }


def build() -> web.App:
    """Logic on its own: it asks the Data Buffer across HTTP."""
    upstream, settings = config.logic_from_env(), config.store_from_env()
    buffer = BrokerBuffer(upstream) if upstream.sink else RemoteBuffer(upstream)
    own = DatastoreLogic(buffer, config.policy_from_env())
    products = RemoteProducts(upstream.products, upstream.timeout, upstream.service_token)

    def product(request: web.Request) -> web.Response:
        media, content = products.read(request.path)
        return web.Response(content, type=media, headers={"X-Content-Type-Options": "nosniff"})

    status = StatusDocument(own, products.list, auth_from_env().mode(settings.host))
    return web.App({**routes(own, status), ("GET", "/products/*"): product}, lambda: None)


logic = functions_framework.aio.http(asgi.asgi_target("logic", build))
