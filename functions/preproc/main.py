"""preproc: makes spectrograms of a frozen batch (event `frozen`, or POST /preproc) and serves them (GET /products)."""

from __future__ import annotations

import asyncio

import functions_framework.aio
import msgspec

from shared import auth, config, events, products, targets, web
from shared.errors import BadRequest
from shared.preproc import Preproc


class _Frozen(msgspec.Struct):
    batch: int


def routes(preproc: Preproc) -> web.Routes:
    """What preproc serves."""

    # The fact that a batch is frozen may be told by anyone: what follows is done once, and only if it is true.
    @auth.needs(lambda headers: auth.OPEN if events.is_event(headers) else auth.OPERATE)
    async def take(call: web.Call) -> web.Reply:
        if not events.is_event(call.headers):
            return await make(call)
        received = events.read(call.headers, call.body)
        if len(received) != 1 or received[0].type != events.FROZEN:
            raise BadRequest(f"preproc takes one {events.FROZEN} at a time")
        frozen = web.read_json(received[0].data, _Frozen)
        made = await asyncio.wrap_future(preproc.make(frozen.batch))
        if made is None or made.verdict != "done":
            return web.NO_CONTENT
        headers, body = preproc.fact(made)
        return web.Reply(body, type=headers["content-type"])

    async def make(call: web.Call) -> web.Reply:
        await asyncio.wrap_future(preproc.make())
        return web.json(products.listing(preproc.config), 201)

    def listing(call: web.Call) -> web.Reply:
        return web.json(products.listing(preproc.config))

    def product(call: web.Call) -> web.Reply:
        media, content = products.read(preproc.config, call.path.removeprefix("/products/"))
        return web.Reply(content, type=media, headers={"X-Content-Type-Options": "nosniff"})

    return {
        ("POST", "/"): take,
        ("POST", "/preproc"): make,
        ("GET", "/products"): listing,
        ("GET", "/products/*"): product,
    }


def build() -> web.App:
    """Preproc on its own: it reads the volume that the store writes, and puts its products there."""
    preproc = Preproc(settings := config.from_env())
    return web.App(routes(preproc), lambda: products.standing(settings))


preproc = functions_framework.aio.http(targets.asgi_target("preproc", build))
