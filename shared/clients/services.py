"""The services behind Datastore Logic and GlitchflowAPI, across HTTP: answers as values, refusals as errors."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from typing import TypeVar
from urllib.parse import quote, unquote, urlencode, urljoin

import msgspec

from shared.clients import http
from shared.clients.service_token import ServiceToken
from shared.config import ServiceEndpoints
from shared.decoding import json_decoder
from shared.domain.block import TYPES
from shared.domain.commit import Committed
from shared.domain.messages import (
    ArchiveList,
    Counts,
    Description,
    ErrorBody,
    NameList,
    ProductList,
)
from shared.domain.request_key import ANONYMOUS, Origin
from shared.domain.state import FROZEN
from shared.errors import (
    BufferFrozen,
    DatastoreError,
    FlushFailed,
    Forbidden,
    NoSuchFile,
    NoSuchRoute,
    Unauthenticated,
    UpstreamFailed,
    error_from_code,
)

log = logging.getLogger(__name__)

T = TypeVar("T")

JSON = "application/json"
_ON_BEHALF_OF = "Datastore-On-Behalf-Of"
_error = json_decoder(ErrorBody)


class _Decided(msgspec.Struct):
    status: str = msgspec.field(name="state", default=FROZEN)
    batch: int = 0


class RemoteProducts:
    """The products of preproc, as its lists name them: at `url` (GET /products) and of archives; none without a URL."""

    def __init__(self, url: str, timeout: float, service_token: str = "") -> None:
        self._url = url
        self._timeout = timeout
        self._token = ServiceToken(service_token)

    def list(self, archive: str = "") -> ProductList:
        """The products of the open batch, or of an archive.

        Raises:
            NoSuchRoute: there is no such archive.
            UpstreamFailed: preproc does not answer.
        """
        if not self._url:
            return ProductList()
        if archive in (".", ".."):
            raise NoSuchRoute(f"there is no archive {archive!r}")
        url = urljoin(self._url, f"/archives/{quote(archive, safe='')}/products") if archive else self._url
        return _decode(self._get(url).body, ProductList)

    def read(self, path: str) -> tuple[str, bytes]:
        """Media type and content of the product at this path of the same host.

        Raises:
            NoSuchRoute: the list has no such product; only listed paths are requested.
            UpstreamFailed: preproc does not answer.
        """
        archive = path.split("/")[2] if path.startswith("/archives/") else ""
        url = next((product.url for product in self.list(archive).products if unquote(product.url) == path), None)
        if url is None:
            raise NoSuchRoute(f"there is no product at {path}")
        response = self._get(urljoin(self._url, url))
        return response.headers.get("content-type", "application/octet-stream"), response.body

    def _get(self, url: str) -> http.HttpResponse:
        response = http.request("GET", url, self._token.headers(), None, self._timeout)
        if response.status == 404 and url != self._url:
            raise NoSuchRoute("there are no such products; GET /archives lists the archives")
        if response.status != 200:
            raise UpstreamFailed(f"{url} answers {response.status}")
        return response


class ServiceClient:
    """Requests to the endpoints of one service, which are named by their environment variables.

    A request for a client carries the client's own credentials, so that this process can do no more than its clients
    may. What it reads by itself carries the service token. No request is sent twice: only the client, which has its
    idempotency key, may do that.
    """

    def __init__(self, endpoints: ServiceEndpoints) -> None:
        self._timeout = endpoints.timeout
        self._token = ServiceToken(endpoints.service_token)
        self._urls = {name: endpoints.url(name) for name in endpoints.endpoints}

    def get(self, endpoint: str, **query: str | int | None) -> bytes:
        """GET; return the body of a successful response.

        Raises:
            UpstreamFailed: no response, or none that can be read.
            DatastoreError: the error that the service answers with.
        """
        url = self._urls[endpoint]
        if parameters := {name: value for name, value in query.items() if value}:
            url += "?" + urlencode(parameters)
        response = http.request("GET", url, self._token.headers(), None, self._timeout)
        return _successful(url, response, (200, 204)).body

    def post(
        self,
        endpoint: str,
        body: bytes,
        origin: Origin = ANONYMOUS,
        success: tuple[int, ...] = (201,),
        batch: int | None = None,
    ) -> http.HttpResponse:
        """POST, about the batch of a number if it is given; return a response with a status in `success`.

        Errors as `get`.
        """
        url = self._urls[endpoint] + (f"?batch={batch}" if batch is not None else "")
        response = http.request("POST", url, self._headers(origin), body, self._timeout)
        log.info("POST %s answered %d", url, response.status)
        return _successful(url, response, success, own_credentials=not origin.authorization)

    async def post_async(self, endpoint: str, body: bytes, origin: Origin = ANONYMOUS, type: str = JSON) -> str:
        """POST a body of a media type from the event loop; return the text of a 201. Errors as `get`."""
        url = self._urls[endpoint]
        response = await http.post_async(url, self._headers(origin, type), body, self._timeout)
        own = not origin.authorization
        return _successful(url, response, (201,), own_credentials=own).body.decode(errors="replace")

    def _headers(self, origin: Origin, type: str = JSON) -> Mapping[str, str]:
        credentials = {"Authorization": origin.authorization} if origin.authorization else self._token.headers()
        headers = {"Content-Type": type, **credentials}
        if origin.key:
            headers["Idempotency-Key"] = origin.key.id
        if origin.by:  # counts where the credentials have the scope `relay`
            headers[_ON_BEHALF_OF] = quote(origin.by)
        return headers


def _successful(
    url: str, response: http.HttpResponse, success: tuple[int, ...], *, own_credentials: bool = True
) -> http.HttpResponse:
    if response.status not in success:
        raise _error_from_response(url, response, own_credentials=own_credentials)
    return response


def _error_from_response(url: str, response: http.HttpResponse, *, own_credentials: bool) -> DatastoreError:
    """The error that an unsuccessful response stands for."""
    error: DatastoreError | None = None
    if response.body == b"Datastore frozen.":  # Logic's texts, which are the original's
        error = BufferFrozen()
    elif response.body == b"Broken FS":
        error = FlushFailed("Broken FS")
    else:
        try:
            refusal = _error.decode(response.body)
        except (msgspec.DecodeError, UnicodeDecodeError):  # a proxy's own text
            pass
        else:
            error = error_from_code(refusal.code, refusal.body)
    # A missing route, and refused credentials of our own, are faults of our configuration, not the client's.
    refused = isinstance(error, Unauthenticated | Forbidden) and own_credentials
    if error is None or refused or isinstance(error, NoSuchRoute):
        error = UpstreamFailed(f"{url} answers {response.status}")
    if "retry-after" in response.headers:
        error.headers = {"Retry-After": response.headers["retry-after"]}
    return error


def _decode(body: bytes, type: type[T]) -> T:
    try:
        return json_decoder(type).decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise UpstreamFailed(f"the answer of the service behind this one cannot be read: {error}") from error


class _RemoteBatch:
    """Requests that both services serve. The arguments after the first are names of endpoints."""

    def __init__(self, endpoints: ServiceEndpoints, stat: str, desc: str, names: str, send: str) -> None:
        self._client = ServiceClient(endpoints)
        self._stat, self._desc, self._names, self._send = stat, desc, names, send

    def stat(self) -> Counts:
        """The counts."""
        return _decode(self._client.get(self._stat), Counts)

    def dstat(self) -> Description:
        """The status and the operator."""
        return _decode(self._client.get(self._desc), Description)

    def names(self, after: str = "", limit: int | None = None, batch: int | None = None) -> Iterable[str]:
        """File names in order of arrival."""
        return _decode(self._client.get(self._names, after=after, limit=limit, batch=batch), NameList).names or []

    async def send(self, body: bytes, origin: Origin = ANONYMOUS, format: str = "") -> str:
        """Store a segment, or a block of a format; return the text of the answer."""
        return await self._client.post_async(self._send, body, origin, TYPES.get(format, JSON))


class RemoteBuffer(_RemoteBatch):
    """A `DataBuffer` across HTTP. All its methods but `send` block."""

    def __init__(self, endpoints: ServiceEndpoints) -> None:
        super().__init__(endpoints, "ENDP_STAT", "ENDP_DESC", "ENDP_DUMPF", "ENDP_SEND")

    def log(self, after: str = "", limit: int | None = None, batch: int | None = None) -> Iterable[bytes]:
        """As `DataBuffer.log`."""
        body = self._client.get("ENDP_DUMP", after=after, limit=limit, batch=batch)
        return map(bytes, _decode(body, list[msgspec.Raw])) if body else []

    def segment(self, name: str) -> bytes:
        """As `DataBuffer.segment`; NoSuchFile also if the Data Buffer has no such route, as the original's."""
        return self._segment(name=name)

    def channel(self, name: str, channel: str, t0: float | None = None) -> bytes:
        """As `DataBuffer.channel`; errors as `segment`."""
        return self._segment(name=name, channel=channel, t0=None if t0 is None else repr(t0))

    def _segment(self, **query: str | None) -> bytes:
        try:
            return self._client.get("ENDP_SEGMENT", **query)
        except UpstreamFailed as error:
            raise NoSuchFile(str(error)) from error

    def archives(self, after: str = "", limit: int | None = None) -> ArchiveList:
        """As `DataBuffer.archives`."""
        return _decode(self._client.get("ENDP_ARCHIVES", after=after, limit=limit), ArchiveList)

    def freeze(self, user: str, token: str, origin: Origin = ANONYMOUS, batch: int | None = None) -> Committed:
        """As `DataBuffer.freeze`. The original's answer does not name batch and state: there the batch is frozen."""
        body = msgspec.json.encode({"user": user, "token": token})
        answer = _decode(self._client.post("ENDP_UPD_DESC", body, origin, batch=batch).body, _Decided)
        counts = self.stat()  # a frozen batch does not change
        return Committed(counts.segments, counts.bytes, answer.status, answer.batch, repeated=answer.batch > 0)

    def cleanall(self, origin: Origin = ANONYMOUS, batch: int | None = None) -> str:
        """As `DataBuffer.cleanall`."""
        return self._client.post("ENDP_CLEAN", b"{}", origin, batch=batch).body.decode(errors="replace")


class RemoteLogic(_RemoteBatch):
    """Datastore Logic across HTTP. All its methods but `send` block."""

    def __init__(self, endpoints: ServiceEndpoints) -> None:
        super().__init__(endpoints, "DS_STAT", "DS_DESC", "DS_DUMPF", "DS_SEND")

    def freeze(self, user: str, token: str, origin: Origin = ANONYMOUS, batch: int | None = None) -> Committed | None:
        """As `LogicAPI.freeze`."""
        body = msgspec.json.encode({"user": user, "token": token})
        response = self._client.post("DS_FREEZE", body, origin, success=(200, 201), batch=batch)
        return _decode(response.body, Committed) if response.status == 201 else None

    def flush(self, origin: Origin = ANONYMOUS, batch: int | None = None) -> str:
        """As `LogicAPI.flush`."""
        return self._client.post("DS_FLUSH", b"{}", origin, batch=batch).body.decode(errors="replace")
