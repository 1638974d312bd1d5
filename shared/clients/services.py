"""The services behind Logic and GlitchflowAPI, across HTTP: their answers as values, their refusals as our errors."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TypeVar
from urllib.parse import urlencode, urljoin

import msgspec

from functions.logic.status import Product, read_products
from shared.clients import http
from shared.clients.service_token import ServiceToken
from shared.config import ServiceEndpoints
from shared.errors import (
    BufferFrozen,
    Busy,
    DatastoreError,
    FlushFailed,
    Forbidden,
    NoSuchFile,
    NoSuchRoute,
    Unauthenticated,
    UpstreamFailed,
    error_from_code,
)
from shared.logic.data_buffer import ArchiveSummary, Counts, Description

T = TypeVar("T")


class _Refusal(msgspec.Struct):
    code: str
    body: str = ""


class _Names(msgspec.Struct):
    nmlist: list[str] | None = None  # the original's null: empty


class _Archives(msgspec.Struct):
    archives: list[ArchiveSummary]


_refusal = msgspec.json.Decoder(_Refusal)


class RemoteProducts:
    """What preprocessing has made, as its list at `url` (GET /products) says; nothing without a URL."""

    def __init__(self, url: str, timeout: float, service_token: str = "") -> None:
        self._url = url
        self._timeout = timeout
        self._credential = ServiceToken(service_token)

    def list(self) -> list[Product]:
        """The products. Raises UpstreamFailed."""
        return read_products(_decode(self._get(self._url).body, dict[str, object])) if self._url else []

    def read(self, path: str) -> tuple[str, bytes]:
        """Media type and content of the product at this path of the same host.

        Raises:
            NoSuchFile: it is not listed: only what is listed is asked for.
            UpstreamFailed: there is no answer.
        """
        if not any(product.url == path for product in self.list()):
            raise NoSuchFile(f"there is no product at {path}")
        answer = self._get(urljoin(self._url, path))
        return answer.headers.get("content-type", "application/octet-stream"), answer.body

    def _get(self, url: str) -> http.HttpResponse:
        try:
            answer = http.request("GET", url, self._credential.headers(), None, self._timeout)
        except Busy as error:
            raise UpstreamFailed(str(error)) from error
        if answer.status != 200:
            raise UpstreamFailed(f"{url} answers {answer.status}")
        return answer


class ServiceClient:
    """Requests to the endpoints of one service, named by their environment variables; connections are reused.

    No request is repeated: whether it was heard is for the one to judge who knows its idempotency key.
    """

    def __init__(self, upstream: ServiceEndpoints) -> None:
        self.upstream = upstream
        self._credential = ServiceToken(upstream.service_token)
        self._urls = {name: upstream.url(name) for name in upstream.endpoints}

    def get(self, endpoint: str, **query: str | int | None) -> bytes:
        """GET; the body of a successful answer.

        Raises:
            UpstreamFailed: no answer, or none that can be understood.
            DatastoreError: what the service says is wrong.
        """
        url = self._urls[endpoint]
        if given := {name: value for name, value in query.items() if value}:
            url += "?" + urlencode(given)
        return self._ask("GET", url, {}, None, (200, 204)).body

    def post(self, endpoint: str, body: bytes, key: str = "", done: tuple[int, ...] = (201,)) -> http.HttpResponse:
        """POST; an answer whose status is in `done`. Errors as `get`."""
        return self._ask("POST", self._urls[endpoint], _headers(key), body, done)

    async def send(self, endpoint: str, body: bytes, key: str = "") -> str:
        """POST from the event loop; the text of a 201. Errors as `get`."""
        url = self._urls[endpoint]
        headers = {**_headers(key), **self._credential.headers()}
        try:
            answer = await http.post_async(url, headers, body, self.upstream.timeout)
        except Busy as error:
            raise UpstreamFailed(str(error)) from error
        return _checked(url, answer, (201,)).body.decode(errors="replace")

    def _ask(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes | None, done: tuple[int, ...]
    ) -> http.HttpResponse:
        try:
            answer = http.request(method, url, {**headers, **self._credential.headers()}, body, self.upstream.timeout)
        except Busy as error:
            raise UpstreamFailed(str(error)) from error
        return _checked(url, answer, done)


def _headers(key: str) -> dict[str, str]:
    headers = {"Content-Type": "application/json"}
    return {**headers, "Idempotency-Key": key} if key else headers


def _checked(url: str, answer: http.HttpResponse, done: tuple[int, ...]) -> http.HttpResponse:
    if answer.status not in done:
        raise _error_from_response(url, answer)
    return answer


def _error_from_response(url: str, answer: http.HttpResponse) -> DatastoreError:
    """The error that an unsuccessful answer stands for."""
    error: DatastoreError | None = None
    if answer.body == b"Datastore frozen.":  # Logic's words, which are the original's
        error = BufferFrozen()
    elif answer.body == b"Broken FS":
        error = FlushFailed("Broken FS")
    else:
        try:
            refusal = _refusal.decode(answer.body)
        except msgspec.DecodeError:  # a proxy's own words
            pass
        else:
            error = error_from_code(refusal.code, refusal.body)
    # A route that is missing there, or does not take our own credentials, is not the client's fault.
    if error is None or isinstance(error, (NoSuchRoute, Unauthenticated, Forbidden)):
        error = UpstreamFailed(f"{url} answers {answer.status}")
    if "retry-after" in answer.headers:
        error.headers = {"Retry-After": answer.headers["retry-after"]}
    return error


def _decode(body: bytes, type: type[T]) -> T:
    try:
        return msgspec.json.decode(body, type=type)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise UpstreamFailed(f"the service behind this one answers what cannot be read: {error}") from error


class _Remote:
    """What both services have in common; the arguments are the names of the endpoints."""

    def __init__(self, upstream: ServiceEndpoints, stat: str, desc: str, names: str, send: str) -> None:
        self._client = ServiceClient(upstream)
        self._stat, self._desc, self._names, self._send = stat, desc, names, send

    def stat(self) -> Counts:
        """The counts."""
        return _decode(self._client.get(self._stat), Counts)

    def dstat(self) -> Description:
        """The state."""
        return _decode(self._client.get(self._desc), Description)

    def names(self, after: str = "", limit: int | None = None) -> Iterable[str]:
        """File names in order of arrival."""
        return _decode(self._client.get(self._names, after=after, limit=limit), _Names).nmlist or []

    async def send(self, body: bytes, key: str = "") -> str:
        """As `Buffer.send`."""
        return await self._client.send(self._send, body, key)


class RemoteBuffer(_Remote):
    """A `Buffer` across HTTP. All its calls but `send` block."""

    def __init__(self, upstream: ServiceEndpoints) -> None:
        super().__init__(upstream, "ENDP_STAT", "ENDP_DESC", "ENDP_DUMPF", "ENDP_SEND")

    def log(self, after: str = "", limit: int | None = None) -> Iterable[bytes]:
        """As `Buffer.log`."""
        body = self._client.get("ENDP_DUMP", after=after, limit=limit)
        return map(bytes, _decode(body, list[msgspec.Raw])) if body else []

    def segment(self, name: str) -> bytes:
        """As `Buffer.segment`; NoSuchFile also where the Data Buffer is one that cannot show segments."""
        try:
            return self._client.get("ENDP_SEGMENT", name=name)
        except UpstreamFailed as error:
            raise NoSuchFile(str(error)) from error

    def archives(self) -> list[ArchiveSummary]:
        """As `Buffer.archives`."""
        return _decode(self._client.get("ENDP_ARCHIVES"), _Archives).archives

    def freeze(self, user: str, token: str, key: str = "") -> Counts:
        """As `Buffer.freeze`."""
        self._client.post("ENDP_UPD_DESC", msgspec.json.encode({"user": user, "token": token}), key)
        return self.stat()  # a frozen batch does not change

    def cleanall(self, key: str = "") -> str:
        """As `Buffer.cleanall`."""
        return self._client.post("ENDP_CLEAN", b"{}", key).body.decode(errors="replace")


class RemoteLogic(_Remote):
    """Datastore Logic across HTTP. All its calls but `send` block."""

    def __init__(self, upstream: ServiceEndpoints) -> None:
        super().__init__(upstream, "DS_STAT", "DS_DESC", "DS_DUMPF", "DS_SEND")

    def freeze(self, user: str, token: str, key: str = "") -> Counts | None:
        """As `Logic.freeze`."""
        body = msgspec.json.encode({"user": user, "token": token})
        answer = self._client.post("DS_FREEZE", body, key, done=(200, 201))
        return _decode(answer.body, Counts) if answer.status == 201 else None

    def flush(self, key: str = "") -> str:
        """As `Logic.flush`."""
        return self._client.post("DS_FLUSH", b"{}", key).body.decode(errors="replace")
