"""HTTP to other processes: pooled connections, timeouts, and one error for every kind of missing response.

A request is sent once, as part of the current trace. It takes another connection only if its pooled one turns out
closed before the first byte.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from datetime import timedelta
from typing import NamedTuple, TypeVar

from pyreqwest.client import BaseClientBuilder, Client, ClientBuilder, SyncClient, SyncClientBuilder
from pyreqwest.exceptions import PyreqwestError

from shared.config.limits import CLIENT_IDLE_TIMEOUT
from shared.errors import UpstreamFailed
from shared.trace_context import outgoing

CONNECTIONS = 64  # at once, for all requests from the event loop; further requests wait for one of them
B = TypeVar("B", bound=BaseClientBuilder)


class NoResponse(UpstreamFailed):
    """No response in time, or none that is HTTP. The request may have taken effect."""


class HttpResponse(NamedTuple):
    """A response with its whole body; header names in any case."""

    status: int
    body: bytes
    headers: Mapping[str, str]


# Made with the first request, because a server forks after it has imported the function.
@functools.cache
def _client(*, tls: bool) -> SyncClient:
    return _plain(SyncClientBuilder(), tls=tls).build()


@functools.cache
def _async_client(*, tls: bool) -> Client:
    return _plain(ClientBuilder(), tls=tls).max_connections(CONNECTIONS).build()


def _plain(builder: B, *, tls: bool) -> B:
    """Disable proxies, redirects and content decoding."""
    builder.no_proxy().follow_redirects(False).pool_idle_timeout(timedelta(seconds=CLIENT_IDLE_TIMEOUT))
    if not tls:
        # Such a client never sees a certificate. Without this it would not start on a system without authorities.
        builder.danger_accept_invalid_certs(True)
    return builder.gzip(False).brotli(False).zstd(False).deflate(False)


def request(method: str, url: str, headers: Mapping[str, str], body: bytes | None, timeout: float) -> HttpResponse:
    """Send a request and wait for its response, `timeout` seconds at most. Redirects are not followed.

    Raises:
        NoResponse: there is none.
    """
    try:
        client = _client(tls=not url.startswith("http://"))
        builder = client.request(method, url).headers({**headers, **outgoing()}).timeout(timedelta(seconds=timeout))
        response = (builder if body is None else builder.body_bytes(body)).build().send()
        return HttpResponse(response.status, bytes(response.bytes()), response.headers)
    except (PyreqwestError, ValueError) as error:  # ValueError: no URL
        raise _no_response(url, error) from error


async def post_async(
    url: str,
    headers: Mapping[str, str],
    body: bytes,
    timeout: float,  # noqa: ASYNC109 - the library has its own
) -> HttpResponse:
    """POST from the event loop, otherwise as `request`. The timeout includes waiting for a connection."""
    try:
        client = _async_client(tls=not url.startswith("http://"))
        builder = client.post(url).headers({**headers, **outgoing()}).timeout(timedelta(seconds=timeout))
        response = await builder.body_bytes(body).build().send()
        return HttpResponse(response.status, bytes(await response.bytes()), response.headers)
    except (PyreqwestError, ValueError) as error:
        raise _no_response(url, error) from error


def post(url: str, headers: Mapping[str, str], body: bytes, timeout: float) -> HttpResponse:
    """POST; otherwise as `request`."""
    return request("POST", url, headers, body, timeout)


def _no_response(url: str, error: Exception) -> NoResponse:
    return NoResponse(f"{url} does not answer: {type(error).__name__}")
