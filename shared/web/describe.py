"""Descriptions of routes: what a handler takes and answers, declared once beside it. `openapi` makes the document."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any, TypeVar, cast

from shared.web.messages import JSON

H = TypeVar("H", bound=Callable[..., object])
Schema = Mapping[str, object]

TEXT, HTML = "text/plain", "text/html"


@dataclass(frozen=True, slots=True)
class Parameter:
    """A parameter of a request.

    Attributes:
        schema: JSON Schema of the value.
        example: a value with which the request succeeds, or a function that returns one of this store; stores that
            need credentials do not call it, because everybody may read the document.
        where: "query", "header" or "path".
    """

    name: str
    description: str
    schema: Schema
    example: object = None
    required: bool = False
    where: str = "query"


@dataclass(frozen=True, slots=True)
class Operation:
    """A route as its handler describes it.

    Attributes:
        summary: in a few words.
        service: the function that serves it; operations are grouped by it.
        parameters: of query, header and path.
        body: type of the JSON body; None without one.
        example: of the body.
        answer: type of a JSON answer; None where there is none, or another kind.
        media: media types of the answer.
        status: of success.
        done: what success means.
        also: further statuses that are no errors, with their meanings.
        headers: of the answer, with their meanings.
        errors: errors that only some routes have.
        below: of a route that ends in `*`, the path that takes its place, with `{names}`.
    """

    summary: str
    service: str
    parameters: tuple[Parameter, ...] = ()
    body: Any = None
    example: object = None
    answer: Any = None
    media: tuple[str, ...] = (JSON,)
    status: int = 200
    done: str = "done"
    also: Mapping[int, str] | None = None
    headers: Mapping[str, str] | None = None
    errors: tuple[type[Exception], ...] = ()
    below: str = ""


def describe(summary: str, *parameters: Parameter, service: str = "", **more: Any) -> Callable[[H], H]:
    """Describe a handler; arguments as the attributes of `Operation`.

    Several descriptions of a handler for a route that ends in `*` are several paths. The service is by default the
    function in whose folder the handler is.
    """

    def declare(handler: H) -> H:
        operation = Operation(summary, service or service_of(handler), parameters, **more)
        cast(Any, handler).operations = (operation, *operations_of(handler))
        return handler

    return declare


def undocumented(handler: H) -> H:
    """Leave a route out of the document: a part of a page, which nobody requests by itself."""
    cast(Any, handler).operations = None
    return handler


def is_described(handler: object) -> bool:
    """Whether a handler is described, or left out on purpose."""
    return hasattr(handler, "operations")


def operations_of(handler: object) -> tuple[Operation, ...]:
    """The descriptions of a handler; none where it has none, or is left out on purpose."""
    return getattr(handler, "operations", None) or ()


def query_parameters(handler: object) -> set[str]:
    """The names of the parameters in the query that a handler is described with."""
    return {one.name for operation in operations_of(handler) for one in operation.parameters if one.where == "query"}


def service_of(handler: object) -> str:
    """The function in whose folder a handler is, or `common` for those that all functions have."""
    # By its file, because the framework gives the module of the function that it serves another name.
    folder = PurePath(getattr(handler, "__globals__", {}).get("__file__", "")).parent
    return folder.name if folder.parent.name == "functions" else "common"


# -- parameters that several routes have ----------------------------------------------------------------------------

KEY = Parameter(
    "Idempotency-Key",
    "names this request: repeated with the same key, it is answered like the first time and done once",
    {"type": "string", "maxLength": 256, "pattern": "^[ -~]*$"},
    where="header",
)
AFTER = Parameter(
    "after", "the page starts behind this file name", {"type": "string", "pattern": "^(gwb[0-9]{1,19}[.]json)?$"}
)
NEXT = Parameter("after", "the `next` of the page before", {"type": "string"})
LIMIT = Parameter("limit", "entries in the page, at most", {"type": "integer", "minimum": 1})
BATCH = Parameter("batch", "the number of the batch that must be open", {"type": "integer", "minimum": 1})
ARCHIVE = Parameter("archive", "the name of an archive, in place of the open batch", {"type": "string"})
MEANT = Parameter("batch", "only if the batch with this number is open", {"type": "integer", "minimum": 1})
PAGE = (AFTER, LIMIT)
PAGE_HEADERS = {"Link": 'the next page, `rel="next"`', "Datastore-Batch": "the number of the batch"}
