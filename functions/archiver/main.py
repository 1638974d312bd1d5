"""archiver: copies archives to ARCHIVE_URL, frees the volume of what is safe there, and tells how far it is."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import quote

import functions_framework.aio

from shared import config, web
from shared.archiver.requests import RESTORE, VERIFY
from shared.archiver.runner import ArchiveRunner
from shared.errors import NoSuchRoute, RemoteFailed
from shared.storage.reader import BatchReader
from shared.web.asgi import asgi_target
from shared.web.bodies import JsonObject


def routes(archives: ArchiveRunner) -> web.Routes:
    """The routes of archiver."""

    @web.describe("The archives and their copies", answer=JsonObject)
    def listing(request: web.Request) -> web.Response:
        archives.wake()
        return web.json(archives.listing())

    @web.describe("The copy of an archive, and the work under way", below="{name}", answer=JsonObject)
    @web.describe("An object of the copy", below="{name}/{object}", media=("application/octet-stream",),
                  errors=(RemoteFailed,))  # fmt: skip
    def read(request: web.Request) -> web.Response:
        name, _, wanted = request.path.removeprefix("/remote/").partition("/")
        if not wanted:
            return web.json(archives.document(name))
        place, path, size, sha256 = archives.content(name, wanted)

        def content(start: int = 0, stop: int | None = None) -> Iterator[bytes]:
            return place.chunks(path, size if stop is None else stop, start)

        return web.serve(request, web.Content("application/octet-stream", sha256, lambda: size, content))

    @web.describe("Read a copy back and compare it", below="{name}/verify", answer=JsonObject, status=202,
                  done="it will be done", errors=(RemoteFailed,))  # fmt: skip
    @web.describe("Bring the segments of an archive back to the volume", below="{name}/restore", answer=JsonObject,
                  status=202, done="it will be done", errors=(RemoteFailed,))  # fmt: skip
    @web.no_body
    def order(request: web.Request) -> web.Response:
        name, _, what = request.path.removeprefix("/remote/").partition("/")
        if what not in (VERIFY, RESTORE):
            raise NoSuchRoute("POST /remote/<name>/verify or /remote/<name>/restore")
        archives.submit(name, what)
        response = web.json({"name": name, "what": what}, 202)
        response.headers = {"Location": f"/remote/{quote(name)}"}
        return response

    return {
        ("GET", "/remote"): listing,
        ("GET", "/remote/*"): read,
        ("POST", "/remote/*"): order,
    }


def build() -> web.App:
    """Archiver on its own: it reads the volume of the store, and removes from it what is safe elsewhere."""
    reader = BatchReader(config.store_from_env())
    archives = ArchiveRunner(reader)
    archives.wake()
    return web.App(routes(archives), reader.check)


archiver = functions_framework.aio.http(asgi_target("archiver", build))
