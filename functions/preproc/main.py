"""preproc: makes spectrograms of a frozen batch (event `frozen`, or POST /preproc) and serves them (GET /products)."""

from __future__ import annotations

import asyncio
from urllib.parse import quote

import functions_framework.aio
import msgspec

from functions.preproc import described
from functions.preproc.listing import listing_of
from shared import auth, config, events, web
from shared.clients.event_sink import EventSink
from shared.errors import NoSuchRoute
from shared.preproc import products
from shared.preproc.runner import PreprocRunner
from shared.storage import frozen_batch
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

    @described.make
    @web.no_body
    async def make(request: web.Request) -> web.Response:
        await asyncio.wrap_future(preproc.request())
        return web.json(listing_of(preproc), 201)

    @described.listing
    def listing(request: web.Request) -> web.Response:
        return web.json(listing_of(preproc))

    @described.product
    def product(request: web.Request) -> web.Response:
        return served(request, preproc.layout.products, request.path.removeprefix("/products/"))

    @described.archived
    def archived(request: web.Request) -> web.Response:
        _, _, name, *below = request.path.split("/", 4)
        if below[:1] != ["products"]:
            raise NoSuchRoute("of an archive, /archives/<name>/products and the files below are served")
        folder = products.archived(preproc.layout, name)
        if len(below) == 1:
            return web.json(products.listing(folder, f"/archives/{quote(name)}/products/"))
        return served(request, folder, below[1])

    @described.make_archived
    @web.no_body
    async def make_archived(request: web.Request) -> web.Response:
        _, _, name, *below = request.path.split("/", 4)
        if below != ["preproc"]:
            raise NoSuchRoute("POST /archives/<name>/preproc makes the products of an archive")
        await asyncio.wrap_future(preproc.request_archived(name))
        folder = await asyncio.to_thread(products.archived, preproc.layout, name)
        return web.json(products.listing(folder, f"/archives/{quote(name)}/products/"), 201)

    def served(request: web.Request, folder: str, name: str) -> web.Response:
        found = products.read(folder, name)
        return web.serve(request, web.Content(found.media, found.sha256, lambda: found.size, found.read))

    # Anyone may report that a batch is frozen, because the work is done once, and only if that is true.
    declare = auth.requires(lambda headers: auth.OPEN if events.is_event(headers) else auth.OPERATE)
    return {
        ("POST", "/"): declare(web.on_events({events.FROZEN: on_frozen}, make, batches=False, slice_size=1)),
        ("POST", "/preproc"): make,
        ("GET", "/products"): listing,
        ("GET", "/products/*"): product,
        ("GET", "/archives/*"): archived,
        ("POST", "/archives/*"): make_archived,
    }


def build() -> web.App:
    """Preproc on its own: it reads the volume of the store, and puts the products there."""
    settings = config.store_from_env()
    preproc = PreprocRunner(settings, EventSink.from_config(settings).publish)
    return web.App(routes(preproc), lambda: frozen_batch.status(preproc.layout))


preproc = functions_framework.aio.http(asgi_target("preproc", build))
