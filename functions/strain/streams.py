"""Streams as the protocols of the field's clients see them, and what their requests have in common."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from fractions import Fraction
from typing import Protocol

from shared import web
from shared.errors import BadRequest
from shared.strain.frame_files import Key, Span

_TIME = re.compile(r"\d{1,10}(\.\d{1,30})?", re.ASCII)
_HOST = re.compile(r"[A-Za-z0-9.\-]{1,253}(:\d{1,5})?|\[[0-9A-Fa-f:.]{2,45}\](:\d{1,5})?", re.ASCII)


class StreamIndex(Protocol):
    """The streams of the store at one moment; a key is detector, channel and samples per second."""

    def known(self) -> tuple[Key, ...]:
        """The streams, in order of arrival."""

    def extent(self, key: Key) -> Span:
        """GPS times of the first sample of a stream, and of the one after the last."""

    def spans(self, key: Key, start: Fraction | None = None, end: Fraction | None = None) -> Iterable[Span]:
        """The spans of contiguous strain in time order, cut to the interval."""


Catalog = Callable[[], AbstractContextManager[StreamIndex]]
"""Returns the streams as they are now. They do not change while the context lasts."""


def gps_time(text: str, name: str) -> Fraction:
    """A GPS time in decimal seconds.

    Raises:
        BadRequest: it is not one.
    """
    if not _TIME.fullmatch(text):
        raise BadRequest(f"`{name}` must be a GPS time in decimal seconds, as 1126259446.5")
    return Fraction(text)


def base_url(request: web.Request, public_url: str) -> str:
    """The address by which the client reaches this store, without a slash at its end: `public_url`, or the request's.

    Raises:
        BadRequest: the request names no host.
    """
    if public_url:
        return public_url.rstrip("/")
    scheme = request.headers.get("x-forwarded-proto", "http").partition(",")[0].strip().lower()
    host = request.headers.get("host", "")
    if scheme not in ("http", "https") or not _HOST.fullmatch(host):
        raise BadRequest("the header Host must name this store, or set PUBLIC_URL")
    return f"{scheme}://{host}"
