"""files: names (GET /dumpF), a segment, block or channel (GET /segment), the newest archives (GET /archives)."""

from __future__ import annotations

import functions_framework.aio

from shared import config, errors, web
from shared.domain.messages import ArchiveList
from shared.storage.reader import BatchReader
from shared.web.asgi import asgi_target
from shared.web.bodies import JsonObject, Names
from shared.web.describe import ARCHIVE, BATCH, LIMIT, NEXT, PAGE, PAGE_HEADERS

_SECONDS = {"type": "string", "pattern": "^[0-9]{1,10}([.][0-9]{1,20})?$"}


def routes(reader: BatchReader) -> web.Routes:
    """The routes of files."""

    @web.describe(
        "The files in the open batch, or in an archive, in order of arrival", *PAGE, BATCH, ARCHIVE,
        answer=Names, headers=PAGE_HEADERS, errors=(errors.BatchChanged, errors.NoSuchFile),
    )  # fmt: skip
    def dump(request: web.Request) -> web.Response:
        after, limit, batch = web.pagination(request)
        archive = request.query.get("archive", "")
        if not after and limit is None and not archive:
            number, pieces = reader.all_names(batch)
            return web.of_batch(number, web.whole_name_list(pieces))
        page = reader.page(after, limit, batch, archive)
        response = web.of_batch(page.batch, web.name_list(page.names))
        return web.next_page(request, response, reader.following(after, limit, page.batch, archive), batch=page.batch)

    @web.describe(
        "A stored segment, byte for byte as received",
        web.Parameter(
            "name", "the file's name", {"type": "string", "pattern": "^gwb[0-9]{1,19}[.]json$"},
            example=lambda: next(reader.names(limit=1), None), required=True,
        ),
        web.Parameter("batch", "`open`, `all`, a batch's number, or an archive's name", {"type": "string"}),
        web.Parameter("channel", "one that it holds: answered as the JSON of a segment", {"type": "string"}),
        web.Parameter("detector", "of the channel, where several have one of that name", {"type": "string"}),
        web.Parameter("t0", "GPS seconds of the channel's first sample, where it has several runs", _SECONDS),
        answer=JsonObject,
        errors=(errors.NoSuchFile, errors.SegmentDamaged),
    )  # fmt: skip
    def segment(request: web.Request) -> web.Response:
        name, batch = request.query.get("name", ""), request.query.get("batch", "")
        if channel := request.query.get("channel"):
            detector = request.query.get("detector")
            return web.Response(reader.channel(name, channel, web.seconds(request, "t0"), batch, detector))
        content, type = reader.typed_segment(name, batch)
        return web.Response(content, type=type)

    @web.describe(
        "The archives, newest first", NEXT, LIMIT,
        answer=ArchiveList, headers={"Link": PAGE_HEADERS["Link"]},
    )  # fmt: skip
    def archives(request: web.Request) -> web.Response:
        after, limit, _ = web.pagination(request)
        found = reader.archives(after, limit)
        return web.next_page(request, web.json(found), found.next or None)

    return {
        ("GET", "/"): dump,
        ("GET", "/dumpF"): dump,
        ("GET", "/segment"): segment,
        ("GET", "/archives"): archives,
    }


def build() -> web.App:
    """Files on its own: it reads the writer's journal."""
    reader = BatchReader(config.store_from_env())
    return web.App(routes(reader), reader.check)


files = functions_framework.aio.http(asgi_target("files", build))
