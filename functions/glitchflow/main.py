"""glitchflow: GlitchflowAPI, which the original's clients call; documented at /docs and /openapi.json."""

from __future__ import annotations

import functions_framework.aio

from functions.glitchflow import pages
from functions.glitchflow.answers import Cleaned, Desc, Streamed, Trained
from functions.glitchflow.replies import with_resp
from shared import auth, config, web
from shared.clients.services import RemoteLogic
from shared.domain.messages import CleanRequest, Counts, TrainRequest
from shared.domain.state import FROZEN
from shared.errors import BatchChanged, BufferFrozen, FlushFailed, Unprocessable
from shared.logic.data_buffer import LogicAPI
from shared.web.asgi import asgi_target
from shared.web.bodies import EXAMPLE_SEGMENT, Names, SegmentSchema
from shared.web.describe import KEY, MEANT, PAGE

_ERRORS = (Unprocessable,)
_DONE = "done, or not possible now, as `resp` says"


def routes(logic: LogicAPI, page: str) -> web.Routes:
    """The routes of GlitchflowAPI; `page` is the status page's URL."""

    @web.describe(
        "Freeze the batch, if it is large enough", KEY, MEANT, body=TrainRequest, answer=Trained, done=_DONE,
        errors=(*_ERRORS, BatchChanged),
        example={"user": "airflow", "token": "airflow"},
    )  # fmt: skip
    @auth.requires(auth.OPERATE, by_body=True)
    def train(request: web.Request) -> web.Response:
        operator = web.read_json(request.body, TrainRequest)
        identity = request.identity_for_record(operator.user, operator.token)
        done = logic.freeze(*identity, request.origin(), web.whole_number(request, "batch"))
        if done is None:
            return web.json({"resp": "WAITING"})
        # A repeated freeze may be of a batch that is archived by now: the state is that of the open one.
        answer = {"resp": done.status or FROZEN, "n_f": done.segments, "bt_wrt": done.bytes}
        return web.json({**answer, "batch": done.batch} if done.repeated else answer)

    @web.describe(
        "Store a strain segment, or a block of many channels",
        KEY,
        body=SegmentSchema,
        answer=Streamed,
        done=_DONE,
        example=EXAMPLE_SEGMENT,
        errors=_ERRORS,
    )
    @web.takes_blocks
    @auth.requires(auth.WRITE)
    async def streamdata(request: web.Request) -> web.Response:
        try:
            answer = await logic.send(request.body, request.origin(), request.format)
        except BufferFrozen as error:
            return web.json({"resp": "FROZEN", "body": str(error)})
        return web.json({"resp": "CREATED", "body": answer})

    @web.describe(
        "Archive the batch and open the next one", KEY, MEANT, body=CleanRequest, answer=Cleaned, done=_DONE,
        errors=(*_ERRORS, BatchChanged),
        example={"msg": "cycle 1"},
    )  # fmt: skip
    @web.small_body
    def clean(request: web.Request) -> web.Response:
        web.read_json(request.body, CleanRequest)
        try:
            done = logic.flush(request.origin(), web.whole_number(request, "batch"))
            return web.json({"resp": "CLEANED", "body": done})
        except FlushFailed as error:
            return web.json({"resp": "FS ERR", "body": str(error)})

    api: web.Routes = {
        ("GET", "/stats"): web.describe("Counts of the batch", answer=Counts)(lambda request: web.json(logic.stat())),
        ("GET", "/dumpbuf"): web.describe("The files in the batch", *PAGE, answer=Names)(
            lambda request: web.name_list(logic.names(*web.pagination(request)))
        ),
        ("GET", "/desc"): web.describe("Status of the batch", answer=Desc)(
            lambda request: web.json({"resp": logic.dstat().status})
        ),
        ("GET", "/dspage"): web.describe("Go to the status page", status=303, headers={"Location": "the page"})(
            auth.requires(auth.OPEN)(lambda request: web.Response(status=303, headers={"Location": page}))
        ),
        ("POST", "/train"): train,
        ("POST", "/streamdata"): streamdata,
        ("POST", "/cleanbuf"): clean,
    }
    return {**{route: with_resp(handler) for route, handler in api.items()}, **pages.routes()}


def build() -> web.App:
    """GlitchflowAPI on its own: it calls Datastore Logic across HTTP."""
    endpoints = config.glitchflow_from_env()
    return web.App(routes(RemoteLogic(endpoints), endpoints.page), lambda: None, title="GlitchflowAPI")


glitchflow = functions_framework.aio.http(asgi_target("glitchflow", build))
