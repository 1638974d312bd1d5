"""HTTP to a store: a client with pooled connections, and one error for every way in which a response can be missing."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Coroutine, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any, NamedTuple, Self, TypeVar

import msgspec
from pyreqwest.client import Client, ClientBuilder
from pyreqwest.exceptions import ConnectError, PyreqwestError
from pyreqwest.response import ResponseBodyReader

from gwclient import bearer_token
from gwclient.errors import Refused

T = TypeVar("T")
_IDLE_TIMEOUT = timedelta(seconds=30)  # shorter than the store's, so that it does not close a connection in use


class NoResponse(Exception):
    """There was no response, or only a part of one.

    Attributes:
        sent: the request may have been received.
    """

    def __init__(self, text: str, sent: bool) -> None:
        super().__init__(text)
        self.sent = sent


class HttpResponse(NamedTuple):
    """A whole response."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def text(self) -> str:
        """The body as text."""
        return self.body.decode(errors="replace")

    def json(self) -> object:
        """The body as JSON; None if it is not JSON."""
        try:
            return msgspec.json.decode(self.body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return None

    def explain(self) -> str:
        """Status and reason for the user, with what to do about credentials."""
        content = self.json()
        content = content if isinstance(content, dict) else {}
        text = f"{self.status} {content.get('body') or content.get('detail') or self.text[:300].strip()}".strip()
        if self.status == 401:
            sent = bool(bearer_token.authorization())
            return f"{text}: {'the store does not accept the token in' if sent else 'set'} {bearer_token.VARIABLES}"
        if self.status == 403:
            return f"{text}: ask the operator for a token with this scope, and set {bearer_token.VARIABLES}"
        return text


class HttpClient:
    """A client for one host; a context manager that sends the bearer token with every request.

    Blocking calls of the library cannot be interrupted by Ctrl-C, therefore every call is asynchronous.

    Args:
        url: any URL on the host.
        connections: requests at once; further ones wait.
        timeout: seconds without a byte of the response.

    Raises:
        Refused: the token cannot be read, or cannot be sent.
    """

    def __init__(self, url: str, connections: int, timeout: float) -> None:
        builder = ClientBuilder().max_connections(connections).pool_max_idle_per_host(connections)
        builder = builder.connect_timeout(timedelta(seconds=timeout)).read_timeout(timedelta(seconds=timeout))
        builder = builder.pool_idle_timeout(_IDLE_TIMEOUT).follow_redirects(False)
        if url.startswith("http://"):
            # Such a client sees no certificate, but without this it would not start where the system has none.
            builder = builder.danger_accept_invalid_certs(True)
        self._client: Client = builder.default_headers(bearer_token.authorization()).build()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self._client.close()

    async def request(
        self,
        method: str,
        url: str,
        body: bytes | None = None,
        *,
        headers: Mapping[str, str] | None = None,
        query: Mapping[str, str] | None = None,
    ) -> HttpResponse:
        """Send a request once, and return the response. Redirects are not followed.

        Raises:
            NoResponse: there is none.
            Refused: `url` is not a URL.
        """
        try:
            request = self._client.request(method, url)
            if headers:
                request = request.headers(headers)
            if query:
                request = request.query(query)
            if body is not None:
                request = request.body_bytes(body)
            response = await request.build().send()
            return HttpResponse(response.status, response.headers, bytes(await response.bytes()))
        except ValueError as error:
            raise Refused(f"{url!r} is not a URL: {_reason(error)}") from None
        except PyreqwestError as error:
            raise NoResponse(f"{url} does not answer: {_reason(error)}", not isinstance(error, ConnectError)) from None

    @contextlib.asynccontextmanager
    async def stream(
        self, url: str, *, headers: Mapping[str, str], query: Mapping[str, str]
    ) -> AsyncIterator[StreamedResponse]:
        """Send a GET once; its response is read while it arrives.

        Raises:
            NoResponse: there is none; or, while it is read, the connection is lost, or no byte arrives in time.
            Refused: `url` is not a URL.
        """
        try:
            request = self._client.request("GET", url).headers(headers).query(query)
            streamed = request.streamed_read_buffer_limit(0).build_streamed()  # by default it waits for 64 KiB
        except ValueError as error:
            raise Refused(f"{url!r} is not a URL: {_reason(error)}") from None
        try:
            async with streamed as response:
                yield StreamedResponse(response.status, response.headers, _chunks(response.body_reader))
        except PyreqwestError as error:
            raise NoResponse(f"{url} does not answer: {_reason(error)}", not isinstance(error, ConnectError)) from None


class StreamedResponse(NamedTuple):
    """A response whose body arrives."""

    status: int
    headers: Mapping[str, str]
    chunks: AsyncIterator[bytes]

    async def whole(self) -> HttpResponse:
        """The whole response."""
        return HttpResponse(self.status, self.headers, b"".join([chunk async for chunk in self.chunks]))


async def _chunks(reader: ResponseBodyReader) -> AsyncIterator[bytes]:
    while chunk := await reader.read_chunk():
        yield bytes(chunk)


def run(work: Coroutine[Any, Any, T]) -> T:
    """Run asynchronous work to its end; on a thread of its own where a loop runs already, as in notebooks."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(work)
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, work).result()


def _reason(error: Exception) -> str:
    """The innermost cause of an error, such as "Connection refused"."""
    details = getattr(error, "details", None) or {}
    causes = details.get("causes") or [{"message": str(error)}]
    return str(causes[-1]["message"])
