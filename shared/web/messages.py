"""Requests and responses as handlers see them, and how their parts are read and written."""

from __future__ import annotations

import abc
import itertools
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar
from urllib.parse import quote, unquote, urlencode

import msgspec

from shared import auth
from shared.auth.principal import Principal
from shared.decoding import json_decoder
from shared.domain.block import format_of
from shared.domain.json_members import repeated_member
from shared.domain.messages import StatusUpdate
from shared.domain.request_key import ANONYMOUS, Origin, RequestKey
from shared.domain.state import FROZEN, OPERATIONAL
from shared.errors import BadRequest
from shared.events import Event
from shared.trace_context import TraceContext

T = TypeVar("T")

JSON = "application/json"
BATCH_HEADER = "Datastore-Batch"
ON_BEHALF_OF = "datastore-on-behalf-of"  # header that names the client of a relayed request, percent-encoded
REPEATED = "repeated-idempotency-key"  # set by the servers where a request carries several
_TEXT = "text/plain; charset=utf-8"
_MAX_KEY = 256  # characters of an idempotency key, which the journal keeps
_MAX_IDENTITY = 4096  # characters of a user or token, which the journal keeps
_MAX_CHECKED = 16 << 10  # bytes of a body from outside; longer ones are our own functions'
_DECIMAL = re.compile(r"[0-9]+(\.[0-9]*)?(e-?[0-9]{1,3})?")
_CHUNK = 512  # items of a streamed list that are sent together
_PIECE = 1 << 16  # bytes of names that are sent together, at least
_NAMES = 4096  # file names that are encoded together


@dataclass(slots=True)
class Request:
    """A request.

    Attributes:
        headers: names in lower case.
        body: the whole body.
        query: the parameters of the URL.
        principal: the authenticated client; None where authentication is off or not required.
        guard: checks further authorisations; None where authentication is off.
        authorization: the Authorization header that proves the principal to the next function; a secret.
        trace: that of the event in the request, where it is another than that of its headers.
    """

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes = b""
    query: Mapping[str, str] = field(default_factory=dict)
    principal: Principal | None = None
    guard: auth.Guard | None = None
    authorization: str = field(default="", repr=False)
    trace: TraceContext | None = None

    @property
    def format(self) -> str:
        """The format of the block in the body, see `domain.block`; empty for a segment."""
        return format_of(self.headers, self.body)

    @property
    def caller(self) -> str:
        """Name of the principal, or of the one on whose behalf it sends the request; empty without authentication."""
        if self.principal is None:
            return ""
        if self.principal.acts_on_behalf and (name := self.headers.get(ON_BEHALF_OF)):
            return unquote(name)
        return self.principal.name

    def relayed(self, name: str) -> str:
        """The client that the body of a request between functions names, or the caller if it may not name one."""
        return name if self.principal is None or self.principal.acts_on_behalf else self.caller

    def origin(self, event: Event | None = None) -> Origin:
        """The origin of the request, or of an event in it.

        Raises:
            BadRequest: the idempotency key cannot be used.
        """
        if event is not None:
            return Origin(self.caller, RequestKey(event.source, event.id), self.authorization)
        key = idempotency_key(self.headers)
        if not key and self.principal is None:
            return ANONYMOUS
        return Origin(self.caller, RequestKey("", key) if key else None, self.authorization)

    def identity_for_record(self, user: str, token: str) -> tuple[str, str]:
        """The user and token to record for a request that names these; see `auth.recorded_identity`."""
        return auth.recorded_identity(self.principal, user, token)


class EndlessBody(AsyncIterator[bytes]):
    """A body that goes on until its client or the server ends it. Only asynchronous functions send it."""

    @abc.abstractmethod
    async def aclose(self) -> None:
        """Release what it holds; called once, even if nothing was read."""


@dataclass(slots=True)
class Response:
    """A response; an iterator as body is streamed. `endless` is sent in place of the body."""

    body: bytes | Iterator[bytes] = b""
    status: int = 200
    type: str = JSON
    headers: Mapping[str, str] = field(default_factory=dict)
    endless: EndlessBody | None = None


PlainHandler = Callable[[Request], Response]
AsyncHandler = Callable[[Request], Awaitable[Response]]
Handler = PlainHandler | AsyncHandler
Routes = Mapping[tuple[str, str], Handler]

NO_CONTENT = Response(status=204)


# -- responses ------------------------------------------------------------------------------------------------


def json(value: object, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """A JSON response."""
    return Response(msgspec.json.encode(value), status, JSON, headers or {})


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
    return whole_name_list(_name_pieces(iter(names)))


def whole_name_list(pieces: Iterable[bytes]) -> Response:
    """The same of names that are JSON already: the content of the list, in pieces."""
    return Response(_enclosed(pieces))


def of_batch(batch: int, response: Response) -> Response:
    """Add the number of the batch that a page belongs to, which `batch=` takes for the next page."""
    response.headers = {**response.headers, BATCH_HEADER: str(batch)}
    return response


def next_page(request: Request, response: Response, after: str | None, **more: object) -> Response:
    """Add a link to the next page (RFC 8288): this request with another `after`; None leaves the response."""
    if after is not None:
        query = urlencode({**request.query, **more, "after": after})
        response.headers = {**response.headers, "Link": f'<{quote(request.path)}?{query}>; rel="next"'}
    return response


def _name_pieces(names: Iterator[str]) -> Iterator[bytes]:
    separator = b""
    while chunk := list(itertools.islice(names, _NAMES)):
        yield separator + msgspec.json.encode(chunk)[1:-1]
        separator = b","


def _enclosed(pieces: Iterable[bytes]) -> Iterator[bytes]:
    waiting = b'{"nmlist":['
    for piece in pieces:
        if len(waiting) >= _PIECE:
            yield waiting
            waiting = b""
        waiting += piece
    yield waiting + b"]}"


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
        BadRequest: the body is not JSON of that type, or a member stands twice; the text names the place.
    """

    def decode(body: bytes) -> T:
        value = json_decoder(type).decode(body)
        if len(body) <= _MAX_CHECKED and (name := repeated_member(body)) is not None:
            raise BadRequest(f"`{name}` stands twice; send each member once")
        return value

    return decode_json(body, decode)


def decode_json(body: bytes, decode: Callable[[bytes], T]) -> T:
    """Decode a JSON body that one of our own functions has encoded, so that no member stands twice.

    Args:
        body: the body.
        decode: of a `msgspec.json.Decoder`.

    Raises:
        BadRequest: the body is not JSON of the decoder's type; the text names the place.
    """
    try:
        return decode(body)
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


class _Meant(msgspec.Struct):
    batch: Any = None


def meant_batch(data: bytes | None) -> int | None:
    """The `batch` in the data of an event `freeze` or `cleanall`: the number of the batch that is meant.

    Raises:
        BadRequest: it is not a whole number of 1 or more.
    """
    try:
        batch = json_decoder(_Meant).decode(data or b"{}").batch
    except (ValueError, RecursionError):  # data of another form means no batch
        return None
    if batch is None or (type(batch) is int and batch > 0):
        return batch
    raise BadRequest("`batch` must be a whole number of 1 or more")


def idempotency_key(headers: Mapping[str, str]) -> str:
    """The idempotency key of a request, empty where there is none.

    Raises:
        BadRequest: there are several, or the key is too long for the journal, or cannot be passed on in a header.
    """
    key = headers.get("idempotency-key")
    if key is None:
        return ""
    if REPEATED in headers:
        raise BadRequest("send one Idempotency-Key")
    if len(key) > _MAX_KEY:
        raise BadRequest(f"Idempotency-Key must have at most {_MAX_KEY} characters")
    if not (key.isascii() and key.isprintable()):
        raise BadRequest("Idempotency-Key must be printable ASCII")
    return key


def pagination(request: Request) -> tuple[str, int | None, int | None]:
    """The `after`, `limit` and `batch` of a list request.

    Raises:
        BadRequest: `limit` or `batch` is not a whole number of 1 or more.
    """
    return request.query.get("after", ""), whole_number(request, "limit"), whole_number(request, "batch")


def seconds(request: Request, name: str) -> float | None:
    """A parameter that is a number of seconds; None where it is not given.

    Raises:
        BadRequest: it is not a number of 0 or more.
    """
    text = request.query.get(name)
    if text is None:
        return None
    if len(text) > 40 or not _DECIMAL.fullmatch(text):
        raise BadRequest(f"`{name}` must be a number of seconds")
    return float(text)


def whole_number(request: Request, name: str) -> int | None:
    """A parameter that is a whole number; None where it is not given.

    Raises:
        BadRequest: it is not a whole number of 1 or more.
    """
    text = request.query.get(name)
    if text is None:
        return None
    if not text.isascii() or not text.isdecimal() or not 0 < len(text) < 19 or int(text) == 0:
        raise BadRequest(f"`{name}` must be a whole number of 1 or more")
    return int(text)
