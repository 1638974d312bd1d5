"""HTTP to other functions: pooled connections, time-outs, and one error for every way of not getting an answer.

A request is sent once. Only one that finds its pooled connection closed before the first byte is out takes another.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from datetime import timedelta
from typing import NamedTuple, TypeVar

from pyreqwest.client import BaseClientBuilder, Client, ClientBuilder, SyncClient, SyncClientBuilder
from pyreqwest.exceptions import PyreqwestError

from shared.config.limits import CLIENT_IDLE_TIMEOUT
from shared.errors import Busy

CONNECTIONS = 64  # at once, of all that is sent from the event loop; further requests wait for one of them
B = TypeVar("B", bound=BaseClientBuilder)


class HttpResponse(NamedTuple):
    """A response, its body whole; header names in any case."""

    status: int
    body: bytes
    headers: Mapping[str, str]


# Made with the first request: a server forks after it has imported the function.
@functools.cache
def _client(*, tls: bool) -> SyncClient:
    return _plain(SyncClientBuilder(), tls=tls).build()


@functools.cache
def _async_client(*, tls: bool) -> Client:
    return _plain(ClientBuilder(), tls=tls).max_connections(CONNECTIONS).build()


def _plain(builder: B, *, tls: bool) -> B:
    """What is sent is what was asked for, to whom it was asked, and what comes back is shown as it came."""
    builder.no_proxy().follow_redirects(False).pool_idle_timeout(timedelta(seconds=CLIENT_IDLE_TIMEOUT))
    if not tls:
        # Such a client never sees a certificate. It would not start, though, where the system has none of authorities.
        builder.danger_accept_invalid_certs(True)
    return builder.gzip(False).brotli(False).zstd(False).deflate(False)


def request(method: str, url: str, headers: Mapping[str, str], body: bytes | None, timeout: float) -> HttpResponse:
    """Send a request and block until it is answered; redirections are not followed.

    Raises:
        Busy: no answer, for whatever reason, within `timeout` seconds: the request may or may not have been heard.
    """
    try:
        client = _client(tls=not url.startswith("http://"))
        asked = client.request(method, url).headers(headers).timeout(timedelta(seconds=timeout))
        answer = (asked if body is None else asked.body_bytes(body)).build().send()
        return HttpResponse(answer.status, bytes(answer.bytes()), answer.headers)
    except (PyreqwestError, ValueError) as error:  # ValueError: no URL
        raise _no_answer(url, error) from error


async def post_async(
    url: str,
    headers: Mapping[str, str],
    body: bytes,
    timeout: float,  # noqa: ASYNC109 - the library times out by itself
) -> HttpResponse:
    """POST from the event loop; otherwise as `request`. `within` seconds include waiting for a connection."""
    try:
        client = _async_client(tls=not url.startswith("http://"))
        asked = client.post(url).headers(headers).timeout(timedelta(seconds=timeout))
        answer = await asked.body_bytes(body).build().send()
        return HttpResponse(answer.status, bytes(await answer.bytes()), answer.headers)
    except (PyreqwestError, ValueError) as error:
        raise _no_answer(url, error) from error


def post(url: str, headers: dict[str, str], body: bytes, timeout: float) -> tuple[int, bytes]:
    """POST and return (status, body); errors as `request`."""
    return request("POST", url, headers, body, timeout)[:2]


def _no_answer(url: str, error: Exception) -> Busy:
    return Busy(f"{url} does not answer: {type(error).__name__}")
