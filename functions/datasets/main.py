"""datasets: has training sets made of a frozen batch or an archive (POST /datasets), and serves them."""

from __future__ import annotations

import asyncio

import functions_framework.aio
import msgspec

from functions.datasets.reading import Reading
from shared import auth, config, events, web
from shared.clients.event_sink import EventSink
from shared.datasets.request import Request
from shared.datasets.runner import DatasetRunner
from shared.errors import NameTaken, NoSuchRoute
from shared.storage.reader import BatchReader
from shared.web.asgi import asgi_target
from shared.web.bodies import JsonObject


class _Frozen(msgspec.Struct):
    batch: int


def routes(datasets: DatasetRunner) -> web.Routes:
    """The routes of datasets."""
    reading = Reading(datasets)

    @web.describe(
        "Have a training set made", body=Request, answer=JsonObject, status=202, done="it will be made",
        also={200: "it is there already"}, headers={"Location": "the set"}, errors=(NameTaken,),
    )  # fmt: skip
    def make(request: web.Request) -> web.Response:
        wanted = web.read_json(request.body, Request)
        done = datasets.submit(wanted)
        url = f"/datasets/{wanted.name}"
        if done is not None:
            return web.Response(done.content, headers={"Location": url})
        response = web.json({"name": wanted.name, "state": "waiting", "url": url}, 202)
        response.headers = {"Location": url}
        return response

    @web.describe("Delete a training set", below="{name}", status=204)
    @web.no_body
    def remove(request: web.Request) -> web.Response:
        name = request.path.removeprefix("/datasets/")
        if "/" in name:
            raise NoSuchRoute("only whole training sets can be deleted")
        datasets.remove(name)
        return web.NO_CONTENT

    def on_frozen(request: web.Request, event: events.Event) -> web.Action:
        frozen = web.read_json(event.data, _Frozen)

        async def make_wanted() -> web.Response:
            name = await asyncio.to_thread(datasets.frozen, frozen.batch)
            if name is None:
                return web.NO_CONTENT
            await asyncio.wrap_future(datasets.finished(name))
            done = await asyncio.to_thread(datasets.sets.find, name)
            if done is None:
                return web.NO_CONTENT
            headers, body = events.encode(events.DATASET, datasets.config.source, *datasets.event(done.manifest))
            return web.Response(body, type=headers["content-type"])

        return make_wanted

    # Anyone may report that a batch is frozen, because the work is done once, and only if that is true.
    declare = auth.requires(lambda headers: auth.OPEN if events.is_event(headers) else auth.OPERATE)
    return {
        ("POST", "/"): web.describe("Report that a batch is frozen", status=204)(
            declare(web.on_events({events.FROZEN: on_frozen}, batches=False, slice_size=1))
        ),
        ("POST", "/datasets"): make,
        ("GET", "/datasets"): reading.listing,
        ("GET", "/datasets/*"): reading.read,
        ("DELETE", "/datasets/*"): remove,
    }


def build() -> web.App:
    """Datasets on its own: it reads the volume of the store, and puts the sets there."""
    settings = config.store_from_env()
    reader = BatchReader(settings)
    datasets = DatasetRunner(reader, EventSink.from_config(settings).publish, config.limits_from_env().span)
    datasets.wake()
    return web.App(routes(datasets), reader.check)


datasets = functions_framework.aio.http(asgi_target("datasets", build))
