"""Requests and responses as handlers see them, and how their parts are read and written."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TypeVar

import msgspec

from shared import auth
from shared.auth.principal import Principal
from shared.domain.messages import StatusUpdate
from shared.domain.state import FROZEN, OPERATIONAL
from shared.errors import BadRequest

T = TypeVar("T")

JSON = "application/json"
_TEXT = "text/plain; charset=utf-8"
_MAX_KEY = 256  # characters of an idempotency key, which the journal keeps
_MAX_IDENTITY = 4096  # characters of a user or token, which the journal keeps
_CHUNK = 512  # items of a streamed list that are sent together


@dataclass(slots=True)
class Request:
    """A request.

    Attributes:
        headers: names in lower case.
        body: the whole body.
        query: the parameters of the URL.
        principal: the authenticated client; None where authentication is off or not required.
        guard: checks further authorisations; None where authentication is off.
    """

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes = b""
    query: Mapping[str, str] = field(default_factory=dict)
    principal: Principal | None = None
    guard: auth.Guard | None = None

    def identity_for_record(self, user: str, token: str) -> tuple[str, str]:
        """The user and token to record for a request that names these; see `auth.recorded_identity`."""
        return auth.recorded_identity(self.principal, user, token)


@dataclass(slots=True)
class Response:
    """A response; an iterator as body is streamed."""

    body: bytes | Iterator[bytes] = b""
    status: int = 200
    type: str = JSON
    headers: Mapping[str, str] = field(default_factory=dict)


PlainHandler = Callable[[Request], Response]
AsyncHandler = Callable[[Request], Awaitable[Response]]
Handler = PlainHandler | AsyncHandler
Routes = Mapping[tuple[str, str], Handler]

NO_CONTENT = Response(status=204)


# -- responses ------------------------------------------------------------------------------------------------


def json(value: object, status: int = 200) -> Response:
    """A JSON response."""
    return Response(msgspec.json.encode(value), status)


def text(value: str, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """A plain text response."""
    return Response(value.encode(), status, _TEXT, headers or {})


def file(content: bytes | Iterator[bytes], type: str, headers: Mapping[str, str] | None = None) -> Response:
    """A file, which a browser must not take for another type than it is declared to be."""
    return Response(content, type=type, headers={"X-Content-Type-Options": "nosniff", **(headers or {})})


def json_list(items: Iterable[bytes], before: bytes = b"[", after: bytes = b"]") -> Response:
    """A JSON array of encoded items, streamed, so that a long list is never whole in memory."""
    return Response(_chunks(items, before, after))


def name_list(names: Iterable[str]) -> Response:
    """The answer of /dumpF, streamed; see `domain.messages.NameList`."""
    return json_list(map(msgspec.json.encode, names), b'{"nmlist":[', b"]}")


def _chunks(items: Iterable[bytes], before: bytes, after: bytes) -> Iterator[bytes]:
    chunk = [before]
    separator = b""
    for item in items:
        chunk.append(separator + item)
        separator = b","
        if len(chunk) == _CHUNK:
            yield b"".join(chunk)
            chunk.clear()
    chunk.append(after)
    yield b"".join(chunk)


# -- requests -------------------------------------------------------------------------------------------------


def read_json(body: bytes, type: type[T]) -> T:
    """Decode a JSON body, whatever its Content-Type.

    Raises:
        BadRequest: the body is not JSON of that type; the text names the place.
    """
    try:
        return msgspec.json.decode(body, type=type)
    except msgspec.DecodeError as error:
        raise BadRequest(str(error)) from None
    except (UnicodeDecodeError, RecursionError):
        raise BadRequest("the body must be JSON in UTF-8, nested less deeply") from None


def status_update(body: bytes) -> StatusUpdate:
    """Decode and check the body of /upddsc, or the data of an event `freeze`.

    Raises:
        BadRequest: the text names the field.
    """
    update = read_json(body, StatusUpdate)
    if update.status not in (FROZEN, OPERATIONAL):
        raise BadRequest(f"`dstatus` must be {FROZEN} or {OPERATIONAL}")
    if max(len(update.user), len(update.token)) > _MAX_IDENTITY:
        raise BadRequest(f"`user` and `token` must have at most {_MAX_IDENTITY} characters each")
    return update


def idempotency_key(headers: Mapping[str, str]) -> str:
    """The idempotency key of a request, empty where there is none.

    Raises:
        BadRequest: the key is too long for the journal, or cannot be passed on in a header.
    """
    key = headers.get("idempotency-key", "")
    if len(key) > _MAX_KEY:
        raise BadRequest(f"Idempotency-Key must have at most {_MAX_KEY} characters")
    if not (key.isascii() and key.isprintable()):
        raise BadRequest("Idempotency-Key must be printable ASCII")
    return key


def pagination(request: Request) -> tuple[str, int | None]:
    """The `after` and `limit` of a list request.

    Raises:
        BadRequest: `limit` is not a whole number of 1 or more.
    """
    limit = request.query.get("limit")
    if limit is None:
        return request.query.get("after", ""), None
    if not limit.isascii() or not limit.isdecimal() or not 0 < len(limit) < 19 or int(limit) == 0:
        raise BadRequest("`limit` must be a whole number of 1 or more")
    return request.query.get("after", ""), int(limit)
