"""logic: Datastore Logic, which decides when a batch may freeze, and shows the status page."""

from __future__ import annotations

import hashlib
import re

import functions_framework.aio

from functions.logic import pages
from functions.logic.replies import plain_text_error
from functions.logic.status import StatusDocument
from shared import auth, config, web
from shared.clients.broker import BrokerBuffer
from shared.clients.services import RemoteBuffer, RemoteProducts
from shared.domain.messages import Counts
from shared.errors import BufferFrozen, FlushFailed
from shared.logic.service import DatastoreLogic
from shared.web.asgi import asgi_target


def routes(logic: DatastoreLogic, status: StatusDocument) -> web.Routes:
    """The routes of Datastore Logic."""

    @web.takes_blocks
    @auth.requires(auth.WRITE)
    async def stream(request: web.Request) -> web.Response:
        try:
            return web.text(await logic.send(request.body, request.origin(), request.format), 201)
        except BufferFrozen as error:
            return plain_text_error(error)

    @auth.requires(auth.OPERATE, by_body=True)
    def freeze(request: web.Request) -> web.Response:
        update = web.status_update(request.body)
        identity = request.identity_for_record(update.user, update.token)
        done = logic.freeze(*identity, request.origin())
        if done is None:
            return web.text("Waiting for more incoming data.")
        return web.json(done if done.repeated else Counts(done.segments, done.bytes), 201)

    @web.small_body
    def flush(request: web.Request) -> web.Response:
        try:
            return web.Response(logic.flush(request.origin()).encode(), 201)
        except FlushFailed as error:
            return plain_text_error(error)

    @auth.requires(auth.ANY_PRINCIPAL)
    def whoami(request: web.Request) -> web.Response:
        scopes = (auth.READ, auth.WRITE, auth.OPERATE) if request.principal is None else request.principal.scopes
        return web.json({"name": request.caller, "scopes": sorted(scopes)})

    return {
        **pages.routes(),
        ("GET", "/whoami"): whoami,
        ("GET", "/status.json"): lambda request: web.json(status.get()),
        ("GET", "/bufstat"): lambda request: web.json(logic.stat()),
        ("GET", "/dsdesc"): lambda request: web.json(logic.dstat()),
        ("GET", "/dumpf"): lambda request: web.name_list(logic.names(*web.pagination(request))),
        ("GET", "/dumpflog"): lambda request: web.json_list(logic.log(*web.pagination(request))),
        ("POST", "/stream"): stream,
        ("POST", "/freezeds"): freeze,
        ("POST", "/flushbuf"): flush,
    }


def build() -> web.App:
    """Datastore Logic on its own: it calls the Data Buffer across HTTP."""
    endpoints = config.logic_from_env()
    buffer = BrokerBuffer(endpoints) if endpoints.sink else RemoteBuffer(endpoints)
    logic = DatastoreLogic(buffer, config.policy_from_env())
    products = RemoteProducts(endpoints.products, endpoints.timeout, endpoints.service_token)

    def product(request: web.Request) -> web.Response:
        if re.fullmatch(r"/archives/[^/]+/products/?", request.path):
            return web.json(products.list(request.path.split("/")[2]))
        media, content = products.read(request.path)
        checksum = hashlib.sha256(content).hexdigest()  # preproc's own ETag
        return web.serve(request, web.Content(media, checksum, lambda: len(content), lambda a, b: iter([content[a:b]])))

    def archives(request: web.Request) -> web.Response:
        after, limit, _ = web.pagination(request)
        return web.json(buffer.archives(after, limit))

    settings = config.store_from_env()
    mode = config.auth_from_env().mode(settings.host)
    links = {"products": "products"} if endpoints.products else {}
    status = StatusDocument(logic, products.list, mode, name=settings.name, links=links)
    of_preproc: web.Routes = {
        ("GET", "/products"): lambda request: web.json(products.list()),
        ("GET", "/products/*"): product,
        ("GET", "/archives"): archives,
        ("GET", "/archives/*"): product,
    }
    return web.App({**routes(logic, status), **of_preproc}, lambda: None)


logic = functions_framework.aio.http(asgi_target("logic", build))
