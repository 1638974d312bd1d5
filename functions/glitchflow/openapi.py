"""The OpenAPI 3.1 document of GlitchflowAPI, at `/openapi.json`."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from shared import auth, web
from shared.config import Limits
from shared.domain.messages import CleanRequest, Counts, TrainRequest
from shared.domain.sampling import MAX_GPS, MAX_INTERVAL


class SegmentSchema(msgspec.Struct):
    """A strain segment. `t` may instead hold one GPS time for each sample of `h`; further keys are stored too."""

    h: Annotated[list[float], Meta(min_length=1, description="strain samples, dimensionless, in time order")]
    t: Annotated[
        list[float],
        Meta(
            description="[t0, dt]: GPS time of the first sample, and sampling interval, seconds",
            extra_json_schema={
                "prefixItems": [
                    {"type": "number", "minimum": 0, "exclusiveMaximum": MAX_GPS},
                    {"type": "number", "exclusiveMinimum": 0, "maximum": MAX_INTERVAL},
                ],
                "minItems": 2,
                "maxItems": 2,
            },
        ),
    ]
    detector: Annotated[
        str, Meta(pattern="^([A-Z][A-Za-z0-9]{0,15})?$", description="such as V1; by default the channel's prefix")
    ] = ""
    channel: Annotated[
        str, Meta(max_length=256, pattern="^[A-Za-z0-9_:.,-]*$", description="such as V1:Hrec_hoft_16384Hz")
    ] = ""


class Names(msgspec.Struct):
    """File names in order of arrival."""

    nmlist: list[str]


class Desc(msgspec.Struct):
    """Status of the batch: OPERATIONAL if it takes segments."""

    resp: Literal["OPERATIONAL", "FROZEN"]


class Trained(msgspec.Struct, omit_defaults=True):
    """FROZEN: the batch is closed, with `n_f` files of `bt_wrt` bytes. WAITING: it is not large enough yet.

    A repeated request gets the state now, OPERATIONAL after a cleanall, and the `batch` that it froze.
    """

    resp: Literal["FROZEN", "WAITING", "OPERATIONAL"]
    n_f: int = 0
    bt_wrt: int = 0
    batch: int = 0


class Streamed(msgspec.Struct):
    """CREATED: stored, durable and counted. FROZEN: not stored; the batch is closed until it is cleaned."""

    resp: Literal["CREATED", "FROZEN"]
    body: str


class Cleaned(msgspec.Struct):
    """CLEANED: the batch is archived and the next one open. FS ERR: the volume refused."""

    resp: Literal["CLEANED", "FS ERR"]
    body: str


class Failure(msgspec.Struct):
    """An error: its code, and a sentence. `resp` repeats the code."""

    code: str
    body: str
    resp: str = ""


_Parameter = dict[str, object]
_KEY: _Parameter = {
    "name": "Idempotency-Key",
    "in": "header",
    "description": "names this request: repeated with the same key, it is answered like the first time and done once",
    "schema": {"type": "string", "maxLength": 256, "pattern": "^[ -~]*$"},
}
_PAGE: list[_Parameter] = [
    {
        "name": "after",
        "in": "query",
        "description": "the page starts behind this file name",
        "schema": {"type": "string", "pattern": "^(gwb[0-9]{1,19}[.]json)?$"},
    },
    {
        "name": "limit",
        "in": "query",
        "description": "names in the page, at most",
        "schema": {"type": "integer", "minimum": 1, "maximum": Limits.page},
    },
]
_Type = type[msgspec.Struct]
_OPERATIONS: dict[tuple[str, str], tuple[str, _Type | None, _Type | None, list[_Parameter]]] = {
    ("post", "/streamdata"): ("Store a strain segment, or a block of many channels", SegmentSchema, Streamed, [_KEY]),
    ("get", "/stats"): ("Counts of the batch", None, Counts, []),
    ("get", "/dumpbuf"): ("The files in the batch", None, Names, _PAGE),
    ("get", "/desc"): ("Status of the batch", None, Desc, []),
    ("post", "/train"): ("Freeze the batch, if it is large enough", TrainRequest, Trained, [_KEY]),
    ("post", "/cleanbuf"): ("Archive the batch and open the next one", CleanRequest, Cleaned, [_KEY]),
    ("get", "/dspage"): ("Go to the status page", None, None, []),
}


def document() -> dict[str, object]:
    """Make the document."""
    types = [Failure, *(t for _, body, answer, _ in _OPERATIONS.values() for t in (body, answer) if t)]
    _, components = msgspec.json.schema_components(types, ref_template="#/components/schemas/{name}")
    paths: dict[str, dict[str, object]] = {}
    for (method, path), (summary, body, answer, parameters) in _OPERATIONS.items():
        operation: dict[str, object] = {"operationId": path[1:], "summary": summary, "parameters": parameters}
        if body:
            operation["requestBody"] = {"required": True, "content": _content(body)}
        done: dict[str, object] = (
            {"200": {"description": "done, or not possible now, as `resp` says", "content": _content(answer)}}
            if answer
            else {"303": {"description": "the page", "headers": {"Location": {"schema": {"type": "string"}}}}}
        )
        operation["responses"] = {**done, "default": {"description": "not done", "content": _content(Failure)}}
        paths.setdefault(path, {})[method] = operation
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "GlitchflowAPI",
            "version": _version(),
            "description": "Collects strain segments into a batch, for the retraining of the glitch model.",
        },
        "paths": paths,
        "components": {"schemas": components},
    }


def routes() -> web.Routes:
    """The route of the document."""
    content = document()
    return {("GET", "/openapi.json"): auth.requires(auth.OPEN)(lambda request: web.json(content))}


def _content(type: _Type) -> dict[str, object]:
    return {"application/json": {"schema": {"$ref": f"#/components/schemas/{type.__name__}"}}}


def _version() -> str:
    try:
        return version("dt-datastore")
    except PackageNotFoundError:  # run from a folder
        return "0"
