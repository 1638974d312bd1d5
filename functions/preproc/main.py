"""preproc: makes spectrograms of a frozen batch (event `frozen`, or POST /preproc) and serves them (GET /products)."""

from __future__ import annotations

import asyncio

import functions_framework.aio
import msgspec

from shared import auth, config, events, web
from shared.clients.event_sink import EventSink
from shared.preproc import products
from shared.preproc.runner import PreprocRunner
from shared.web.asgi import asgi_target


class _Frozen(msgspec.Struct):
    batch: int


def routes(preproc: PreprocRunner) -> web.Routes:
    """The routes of preproc."""

    def on_frozen(request: web.Request, event: events.Event) -> web.Action:
        frozen = web.read_json(event.data, _Frozen)

        async def make_products() -> web.Response:
            manifest = await asyncio.wrap_future(preproc.request(frozen.batch))
            if manifest is None or manifest.verdict != "done":
                return web.NO_CONTENT
            headers, body = events.encode(events.SPECTROGRAM, preproc.config.source, *preproc.event(manifest))
            return web.Response(body, type=headers["content-type"])

        return make_products

    @web.no_body
    async def make(request: web.Request) -> web.Response:
        await asyncio.wrap_future(preproc.request())
        return web.json(products.listing(preproc.layout), 201)

    def listing(request: web.Request) -> web.Response:
        return web.json(products.listing(preproc.layout))

    def product(request: web.Request) -> web.Response:
        found = products.read(preproc.layout, request.path.removeprefix("/products/"))
        return web.serve(request, web.Content(found.media, found.sha256, lambda: found.size, found.read))

    # Anyone may report that a batch is frozen, because the work is done once, and only if that is true.
    declare = auth.requires(lambda headers: auth.OPEN if events.is_event(headers) else auth.OPERATE)
    return {
        ("POST", "/"): declare(web.on_events({events.FROZEN: on_frozen}, make, batches=False, slice_size=1)),
        ("POST", "/preproc"): make,
        ("GET", "/products"): listing,
        ("GET", "/products/*"): product,
    }


def build() -> web.App:
    """Preproc on its own: it reads the volume of the store, and puts the products there."""
    settings = config.store_from_env()
    preproc = PreprocRunner(settings, EventSink.from_config(settings).publish)
    return web.App(routes(preproc), lambda: products.batch_status(preproc.layout))


preproc = functions_framework.aio.http(asgi_target("preproc", build))
