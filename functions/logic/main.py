"""logic: Datastore Logic, which decides when a batch may freeze, and shows the status page."""

from __future__ import annotations

import functions_framework.aio
import msgspec

from shared import auth, config, pages, targets, web
from shared.access_config import trust_from_env
from shared.asking import AskingBuffer
from shared.errors import BufferFrozen, FlushFailed
from shared.logic import Logic
from shared.requests import read_key, read_update
from shared.status import Status
from shared.upstream import RemoteBuffer, RemoteProducts


def routes(logic: Logic, status: Status) -> web.Routes:
    """What logic serves, over whichever Data Buffer."""

    def dump(call: web.Call) -> web.Reply:
        names = map(msgspec.json.encode, logic.names(*web.page(call)))
        return web.Reply(web.json_list(names, b'{"nmlist":[', b"]}"))

    def log(call: web.Call) -> web.Reply:
        return web.Reply(web.json_list(logic.log(*web.page(call))))

    @auth.needs(auth.WRITE)
    async def stream(call: web.Call) -> web.Reply:
        try:
            return web.text(await logic.send(call.body, read_key(call.headers)), 201)
        except BufferFrozen as error:
            return web.in_words(error)

    @auth.needs(auth.OPERATE, by_body=True)
    def freeze(call: web.Call) -> web.Reply:
        by = read_update(call.body)
        frozen = logic.freeze(*call.on_record(by.user, by.token), read_key(call.headers))
        return web.text("Waiting for more incoming data.") if frozen is None else web.json(frozen, 201)

    def flush(call: web.Call) -> web.Reply:
        try:
            return web.Reply(logic.flush(read_key(call.headers)).encode(), 201)
        except FlushFailed as error:
            return web.in_words(error)

    return {
        **pages.status(),
        ("GET", "/status.json"): lambda call: web.json(status.show()),
        ("GET", "/bufstat"): lambda call: web.json(logic.stat()),
        ("GET", "/dsdesc"): lambda call: web.json(logic.dstat()),
        ("GET", "/dumpf"): dump,
        ("GET", "/dumpflog"): log,
        ("POST", "/stream"): stream,
        ("POST", "/freezeds"): freeze,
        ("POST", "/flushbuf"): flush,
    }


def build() -> web.App:
    """Logic on its own: it asks the Data Buffer across HTTP."""
    upstream, settings = config.logic_from_env(), config.from_env()
    buffer = AskingBuffer(upstream) if upstream.sink else RemoteBuffer(upstream)
    own = Logic(buffer, config.policy_from_env())
    products = RemoteProducts(upstream.products, upstream.timeout, upstream.service_token)

    def product(call: web.Call) -> web.Reply:
        media, content = products.read(call.path)
        return web.Reply(content, type=media, headers={"X-Content-Type-Options": "nosniff"})

    status = Status(own, products.list, trust_from_env().standing(settings.host))
    return web.App({**routes(own, status), ("GET", "/products/*"): product}, lambda: None)


logic = functions_framework.aio.http(targets.asgi_target("logic", build))
