"""The answers to GET /datasets and below: the list, manifests, progress, files, and whole sets as tar."""

from __future__ import annotations

import hashlib

from shared import web
from shared.datasets.runner import DatasetRunner
from shared.web.bodies import JsonObject


class Reading:
    """Answers requests that read.

    Args:
        datasets: the runner. A read wakes it, because the process that accepted a request may be gone.
    """

    def __init__(self, datasets: DatasetRunner) -> None:
        self._datasets = datasets

    @web.describe("The training sets, and those that are not done", answer=JsonObject)
    def listing(self, request: web.Request) -> web.Response:
        """The list of all sets, and of those that are not done."""
        self._datasets.wake()
        rows: dict[str, dict[str, object]] = {
            summary.name: {
                "name": summary.name,
                "state": "done",
                "batch": summary.batch,
                "n_itm": summary.n_itm,
                "events": len(summary.events),
                "left_out": len(summary.left_out),
                "size": sum(file.size for file in summary.files),
                "url": f"/datasets/{summary.name}",
            }
            for summary in self._datasets.sets.all()
        }
        for order in self._datasets.orders.all():
            name = order.request.name
            if (under_way := self._datasets.document(name)) is not None:
                rows[name] = under_way
        return web.json({"datasets": [row for _, row in sorted(rows.items())]})

    @web.describe("The manifest of a training set, or its progress; or the set as <name>.tar", below="{name}",
                  answer=JsonObject, media=(web.JSON, "application/x-tar"))  # fmt: skip
    @web.describe("A file of a training set", below="{name}/{file}", media=("application/octet-stream",))
    def read(self, request: web.Request) -> web.Response:
        """A manifest or the progress, a file, or the whole set as `<name>.tar`."""
        name, _, file = request.path.removeprefix("/datasets/").partition("/")
        if file:
            found = self._datasets.sets.content(name, file)
            return web.serve(request, web.Content(found.media, found.sha256, lambda: found.size, found.read))
        if name.endswith(".tar"):
            etag, tar = self._datasets.sets.tar(name.removesuffix(".tar"))
            headers = {"Content-Disposition": f'attachment; filename="{name}"'}
            return web.serve(request, web.Content("application/x-tar", etag, lambda: tar.size, tar.read, headers))
        if (under_way := self._datasets.document(name)) is not None:
            self._datasets.wake()
            return web.json(under_way)
        content = self._datasets.sets.require(name).content
        etag = hashlib.sha256(content).hexdigest()
        whole = web.Content(web.JSON, etag, lambda: len(content), lambda start, stop: iter([content[start:stop]]))
        return web.serve(request, whole)
