"""What a response gets before it leaves: compression, an identifier, and leave for other sites' pages to read it."""

from __future__ import annotations

import itertools
import secrets
from collections.abc import Mapping
from dataclasses import replace

from shared.web.app import App
from shared.web.compression import MIN_SIZE, compressed
from shared.web.messages import Response

REQUEST_ID = "X-Request-ID"
_MAX_ID = 128  # characters
_process = secrets.token_hex(4)
_numbers = itertools.count(1)


def finish(app: App | None, method: str, headers: Mapping[str, str], response: Response) -> Response:
    """The response as it is sent; header names of the request are in lower case.

    An identifier is made for refusals only, which are in the log. Of a short response without further headers, which
    each segment gets, nothing is copied.
    """
    body = response.body
    if not isinstance(body, bytes) or len(body) >= MIN_SIZE:
        response = compressed(response, method, headers)
    if response.status >= 400 or "x-request-id" in headers:
        response = _with(response, {REQUEST_ID: request_id(headers)})
    if app is not None and app.cross_origin is not None:
        vary = ", ".join(filter(None, (response.headers.get("Vary"), "Origin")))
        response = _with(response, {"Vary": vary, **app.cross_origin.headers(method, headers)})
    return response


def request_id(headers: Mapping[str, str]) -> str:
    """The identifier that the client gave the request if it is short and printable, or else a new one."""
    given = headers.get("x-request-id", "")
    if 0 < len(given) <= _MAX_ID and given.isascii() and given.isprintable():
        return given
    return f"{_process}-{next(_numbers):x}"


def _with(response: Response, headers: Mapping[str, str]) -> Response:
    # A copy, because handlers may return the same response each time.
    return replace(response, headers={**response.headers, **headers})
