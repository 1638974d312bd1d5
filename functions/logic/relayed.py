"""The routes of other functions that Datastore Logic passes on, split, because its page reads them."""

from __future__ import annotations

import hashlib
import re

from shared import web
from shared.clients.services import RemoteProducts
from shared.domain.messages import ArchiveList, ProductList
from shared.logic.data_buffer import DataBuffer
from shared.web.describe import LIMIT, NEXT

_FILES = ("image/png", "application/x-hdf5", "text/html; charset=utf-8", web.JSON)


def routes(buffer: DataBuffer, products: RemoteProducts) -> web.Routes:
    """The routes."""

    def read(request: web.Request) -> web.Response:
        media, content = products.read(request.path)
        checksum = hashlib.sha256(content).hexdigest()  # preproc's own ETag
        return web.serve(request, web.Content(media, checksum, lambda: len(content), lambda a, b: iter([content[a:b]])))

    @web.describe("A product of preproc", below="{name}", media=_FILES)
    def product(request: web.Request) -> web.Response:
        return read(request)

    @web.describe("The products of an archive", below="{name}/products", answer=ProductList)
    @web.describe("A product of an archive", below="{name}/products/{product}", media=_FILES)
    def archived(request: web.Request) -> web.Response:
        if re.fullmatch(r"/archives/[^/]+/products/?", request.path):
            return web.json(products.list(request.path.split("/")[2]))
        return read(request)

    @web.describe("The archives, newest first", NEXT, LIMIT, answer=ArchiveList)
    def archives(request: web.Request) -> web.Response:
        after, limit, _ = web.pagination(request)
        found = buffer.archives(after, limit)
        return web.next_page(request, web.json(found), found.next or None)

    @web.describe("The products of preproc", answer=ProductList)
    def listing(request: web.Request) -> web.Response:
        return web.json(products.list())

    return {
        ("GET", "/products"): listing,
        ("GET", "/products/*"): product,
        ("GET", "/archives"): archives,
        ("GET", "/archives/*"): archived,
    }
