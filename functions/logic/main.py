"""logic: Datastore Logic, which decides when a batch may freeze, and shows the status page."""

from __future__ import annotations

import functions_framework.aio

from functions.logic import pages, reads, relayed
from functions.logic.replies import plain_text_error
from functions.logic.status import StatusDocument
from shared import auth, config, errors, web
from shared.clients.broker import BrokerBuffer
from shared.clients.services import RemoteBuffer, RemoteProducts
from shared.domain.messages import Counts
from shared.errors import BufferFrozen, FlushFailed
from shared.logic.service import DatastoreLogic
from shared.web.asgi import asgi_target
from shared.web.bodies import EXAMPLE_SEGMENT, Done, SegmentSchema, StatusChange
from shared.web.describe import KEY, MEANT, TEXT


def routes(logic: DatastoreLogic, status: StatusDocument) -> web.Routes:
    """The routes of Datastore Logic."""

    @web.describe(
        "Store a strain segment, or a block of many channels",
        KEY, body=SegmentSchema, example=EXAMPLE_SEGMENT, status=201, media=(TEXT,),
        done="stored; the Data Buffer's answer as text", errors=(errors.BufferFrozen,),
    )  # fmt: skip
    @web.takes_blocks
    @auth.requires(auth.WRITE)
    async def stream(request: web.Request) -> web.Response:
        try:
            return web.text(await logic.send(request.body, request.origin(), request.format), 201)
        except BufferFrozen as error:
            return plain_text_error(error)

    @web.describe(
        "Freeze the batch, if it is large enough", KEY, MEANT, body=StatusChange,
        example={"user": "ada", "token": "mine"}, errors=(errors.BatchChanged,),
        answer=Counts, status=201, done="frozen", also={200: "the batch is not large enough yet"},
    )  # fmt: skip
    @auth.requires(auth.OPERATE, by_body=True)
    def freeze(request: web.Request) -> web.Response:
        update = web.status_update(request.body)
        identity = request.identity_for_record(update.user, update.token)
        done = logic.freeze(*identity, request.origin(), web.whole_number(request, "batch"))
        if done is None:
            return web.text("Waiting for more incoming data.")
        return web.json(done if done.repeated else Counts(done.segments, done.bytes), 201)

    @web.describe(
        "Archive the batch and open the next one", KEY, MEANT, answer=Done, status=201,
        errors=(errors.FlushFailed, errors.BatchChanged),
    )  # fmt: skip
    @web.small_body
    def flush(request: web.Request) -> web.Response:
        try:
            return web.Response(logic.flush(request.origin(), web.whole_number(request, "batch")).encode(), 201)
        except FlushFailed as error:
            return plain_text_error(error)

    return {
        **pages.routes(),
        **reads.routes(logic, status),
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

    settings = config.store_from_env()
    mode = config.auth_from_env().mode(settings.host)
    links = {"products": "products"} if endpoints.products else {}
    status = StatusDocument(logic, products.list, mode, name=settings.name, links=links)
    return web.App({**routes(logic, status), **relayed.routes(buffer, products)}, lambda: None)


logic = functions_framework.aio.http(asgi_target("logic", build))
