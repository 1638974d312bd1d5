"""preproc: makes spectrograms of a frozen batch (event `frozen`, or POST /preproc) and serves them (GET /products)."""

from __future__ import annotations

import asyncio

import functions_framework.aio
import msgspec

from shared import auth, config, events, web
from shared.clients.event_sink import EventSink
from shared.errors import BadRequest
from shared.preproc import products
from shared.preproc.runner import PreprocRunner
from shared.web import asgi


class _Frozen(msgspec.Struct):
    batch: int


def routes(preproc: PreprocRunner) -> web.Routes:
    """What preproc serves."""

    # The fact that a batch is frozen may be told by anyone: what follows is done once, and only if it is true.
    @auth.requires(lambda headers: auth.OPEN if events.is_event(headers) else auth.OPERATE)
    async def take(request: web.Request) -> web.Response:
        if not events.is_event(request.headers):
            return await make(request)
        received = events.decode(request.headers, request.body)
        if len(received) != 1 or received[0].type != events.FROZEN:
            raise BadRequest(f"preproc takes one {events.FROZEN} at a time")
        frozen = web.read_json(received[0].data, _Frozen)
        made = await asyncio.wrap_future(preproc.request(frozen.batch))
        if made is None or made.verdict != "done":
            return web.NO_CONTENT
        headers, body = events.encode(events.SPECTROGRAM, preproc.config.source, *preproc.event(made))
        return web.Response(body, type=headers["content-type"])

    async def make(request: web.Request) -> web.Response:
        await asyncio.wrap_future(preproc.request())
        return web.json(products.listing(preproc.layout), 201)

    def listing(request: web.Request) -> web.Response:
        return web.json(products.listing(preproc.layout))

    def product(request: web.Request) -> web.Response:
        media, content = products.read(preproc.layout, request.path.removeprefix("/products/"))
        return web.Response(content, type=media, headers={"X-Content-Type-Options": "nosniff"})

    return {
        ("POST", "/"): take,
        ("POST", "/preproc"): make,
        ("GET", "/products"): listing,
        ("GET", "/products/*"): product,
    }


def build() -> web.App:
    """Preproc on its own: it reads the volume that the store writes, and puts its products there."""
    settings = config.store_from_env()
    preproc = PreprocRunner(settings, EventSink.from_config(settings).publish)
    return web.App(routes(preproc), lambda: products.batch_status(preproc.layout))


preproc = functions_framework.aio.http(asgi.asgi_target("preproc", build))
