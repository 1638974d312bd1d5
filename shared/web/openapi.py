"""The OpenAPI 3.1 document of an app, made from its routes, the descriptions and requirements of their handlers."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import msgspec

from shared import auth, errors
from shared.auth.guard import requirement_of
from shared.web.bodies import CloudEvent, Failure
from shared.web.describe import Operation, Parameter, is_described, operations_of, service_of
from shared.web.error_responses import error_response_for
from shared.web.messages import JSON, Handler

_TEMPLATE = re.compile(r"\{(\w+)\}")
_EVENTS = "application/cloudevents+json"
_REFS = "#/components/schemas/{name}"
_BODY_ERRORS = (errors.BadRequest, errors.BodyTooLarge, errors.UnsupportedCoding, errors.TooSlow)
_Object = dict[str, Any]
Route = tuple[str, str, Handler]


def document(title: str, routes: Iterable[Route], max_page: int, guard: auth.Guard | None) -> _Object:
    """Make the document.

    Args:
        title: the name of the API.
        routes: method, path and handler of each.
        max_page: the longest page, entries.
        guard: checks credentials; None if requests need none. Then the document has examples of this store.
    """
    described = [found for route in routes for found in _operations(*route)]
    types = [Failure, CloudEvent]
    types += [t for _, _, _, operation in described for t in (operation.body, operation.answer) if t is not None]
    schemas, components = msgspec.json.schema_components(types, ref_template=_REFS)
    schema_of: Callable[[Any], Any] = dict(zip(types, _modern(list(schemas)), strict=True)).__getitem__
    paths: dict[str, _Object] = {}
    identifiers: set[str] = set()
    described.sort(key=lambda found: (found[3].service == "common", found[1]))
    for method, path, handler, operation in described:
        identifier = re.sub(r"\W+", "_", path).strip("_") or "root"
        identifier = identifier if identifier not in identifiers else f"{method.lower()}_{identifier}"
        identifiers.add(identifier)
        paths.setdefault(path, {})[method.lower()] = {
            "operationId": identifier,
            "tags": [operation.service],
            "summary": operation.summary,
            "parameters": [_parameter(p, max_page, live=guard is None) for p in _parameters(path, operation)],
            **_request_body(handler, operation, schema_of),
            "responses": _responses(method, handler, operation, schema_of),
            "security": _security(method, handler, guard),
        }
    services = list(dict.fromkeys(tag for methods in paths.values() for one in methods.values() for tag in one["tags"]))
    return {
        "openapi": "3.1.0",
        "info": {
            "title": title,
            "version": _version(),
            "description": (
                "Collects strain segments into a batch, for the retraining of the glitch model. The examples of the "
                "routes that read strain ask for that of the example of `POST /sendF`: execute it first."
            ),
        },
        "tags": [{"name": service, "description": _about(service)} for service in services],
        "paths": paths,
        "components": {
            "schemas": _modern(components),
            "securitySchemes": {"bearer": {"type": "http", "scheme": "bearer", "description": "a token or a JWT"}},
        },
    }


def examples(routes: Iterable[Route]) -> list[object]:
    """The examples of this store as they are now."""
    found = [operation for route in routes for _, _, _, operation in _operations(*route)]
    return [_example(p, live=True) for operation in found for p in operation.parameters if callable(p.example)]


def _example(parameter: Parameter, live: bool) -> object:
    if not callable(parameter.example):
        return parameter.example
    try:
        return parameter.example() if live else None
    except errors.DatastoreError:
        return None


def _operations(method: str, path: str, handler: Handler) -> Iterator[tuple[str, str, Handler, Operation]]:
    """The operations of a route. One that is not described is in the document too."""
    found = operations_of(handler)
    if not is_described(handler):
        found = (Operation(f"{method} {path}", service_of(handler), below="{path}"),)
    for operation in found:
        yield method, path.removesuffix("*") + operation.below if path.endswith("*") else path, handler, operation


def _parameters(path: str, operation: Operation) -> Iterator[Parameter]:
    yield from operation.parameters
    known = {parameter.name for parameter in operation.parameters if parameter.where == "path"}
    for name in _TEMPLATE.findall(path):
        if name not in known:
            yield Parameter(name, "part of the path", {"type": "string", "pattern": "^[^/]+$"}, where="path")


def _parameter(parameter: Parameter, max_page: int, live: bool) -> _Object:
    bound = {"maximum": max_page} if parameter.name == "limit" else {}
    example = _example(parameter, live)
    return {
        "name": parameter.name,
        "in": parameter.where,
        "description": parameter.description,
        "schema": {**parameter.schema, **bound},
        **({"required": True} if parameter.required or parameter.where == "path" else {}),
        **({} if example is None else {"example": example}),
    }


def _request_body(handler: Handler, operation: Operation, schema_of: Callable[[Any], Any]) -> _Object:
    content: _Object = {}
    if operation.body is not None:
        example = {} if operation.example is None else {"example": operation.example}
        content[JSON] = {"schema": schema_of(operation.body), **example}
    if event_types := getattr(handler, "event_types", ()):
        members = {"type": {"enum": list(event_types)}}
        data = {} if operation.body is None else {"data": schema_of(operation.body)}
        own = {"properties": {**members, **data}, "required": list(data)}
        content[_EVENTS] = {"schema": {"allOf": [schema_of(CloudEvent), own]}}
    if not content:
        return {}
    return {"requestBody": {"required": JSON in content, "content": content}}


def _responses(method: str, handler: Handler, operation: Operation, schema_of: Callable[[Any], Any]) -> _Object:
    done: _Object = {"description": operation.done}
    if operation.status not in (204, 303):
        schema = {} if operation.answer is None else {"schema": schema_of(operation.answer)}
        done["content"] = {media: schema if media == JSON else {} for media in operation.media}
    if operation.headers:
        done["headers"] = {
            name: {"description": meaning, "schema": {"type": "string"}} for name, meaning in operation.headers.items()
        }
    responses: _Object = {str(operation.status): done}
    for status, meaning in (operation.also or {}).items():
        responses[str(status)] = {"description": meaning}
    if getattr(handler, "event_types", ()):
        responses.setdefault("204", {"description": "the events have taken effect"})
    failure = {"content": {JSON: {"schema": schema_of(Failure)}}}
    for status, found in _errors(method, handler, operation).items():
        rows = [error_response_for(error("")) for error in found]
        retry = {"Retry-After": {"description": "seconds to wait", "schema": {"type": "integer"}}}
        meaning = "; ".join(f"`{getattr(error, 'code', '')}`: {_first_line(error)}" for error in found)
        with_retry = {"headers": retry} if any(row.retry_after for row in rows) else {}
        responses.setdefault(str(status), {"description": meaning, **with_retry, **failure})
    responses["default"] = {"description": "any other error", **failure}
    return responses


def _errors(method: str, handler: Handler, operation: Operation) -> dict[int, list[type[Exception]]]:
    found = list(operation.errors)
    if requirement_of(handler, method).scope != auth.OPEN:
        found += [errors.Unauthenticated, errors.Forbidden]
    if method == "POST":
        found += _BODY_ERRORS
    elif operation.parameters:
        found.append(errors.BadRequest)
    found += [errors.Busy]
    by_status: dict[int, list[type[Exception]]] = {}
    for error in dict.fromkeys(found):
        by_status.setdefault(error_response_for(error("")).status, []).append(error)
    return dict(sorted(by_status.items()))


def _security(method: str, handler: Handler, guard: auth.Guard | None) -> list[Mapping[str, list[str]]]:
    requirement = requirement_of(handler, method)
    scopes = [requirement.scope({}), auth.OPEN] if callable(requirement.scope) else [requirement.scope]
    names = [name for scope in scopes for name in ((scope,) if isinstance(scope, str) else scope) if name != auth.OPEN]
    alternatives: list[Mapping[str, list[str]]] = [
        {"bearer": [] if name == auth.ANY_PRINCIPAL else [name]} for name in names
    ]
    is_open = guard is None or auth.OPEN in scopes or guard.scope(requirement, {}) == auth.OPEN or requirement.by_body
    return [*alternatives, {}] if is_open and alternatives else alternatives


def _first_line(error: type[Exception]) -> str:
    return (error.__doc__ or "").partition("\n")[0].rstrip(".")


def _about(service: str) -> str:
    """What a function is for: the first line of its module."""
    for name in (f"functions.{service}.main", "main", "__main__"):  # the framework's name for what it serves
        line = (getattr(sys.modules.get(name), "__doc__", None) or "").partition("\n")[0]
        if line.startswith(f"{service}: "):
            return line.partition(": ")[2]
    return {"events": "requests and reports as CloudEvents"}.get(service, "what every function serves")


def _modern(schema: Any) -> Any:
    """A schema in the dialect of OpenAPI 3.1, in which `prefixItems` describe the members of a tuple."""
    if isinstance(schema, list):
        return [_modern(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    found = {name: _modern(one) for name, one in schema.items()}
    if isinstance(found.get("items"), list):
        found |= {"prefixItems": found["items"], "items": False}
    return found


def _version() -> str:
    try:
        return version("dt-datastore")
    except PackageNotFoundError:  # run from a folder
        return "0"
