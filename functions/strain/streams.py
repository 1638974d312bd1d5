"""Streams as the field's clients ask for them: by detector, or by observatory and frametype."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from fractions import Fraction
from typing import Protocol

from shared import web
from shared.errors import BadRequest
from shared.strain.frame_files import Key, Span, frametypes

_TIME = re.compile(r"\d{1,10}(\.\d{1,30})?", re.ASCII)
_HOST = re.compile(r"[A-Za-z0-9.\-]{1,253}(:\d{1,5})?|\[[0-9A-Fa-f:.]{2,45}\](:\d{1,5})?", re.ASCII)


class KnownStream(Protocol):
    """A stream of the index: `key` is detector, channel and samples per second."""

    @property
    def key(self) -> Key:
        """Detector, channel and samples per second."""

    @property
    def extent(self) -> Span:
        """GPS times of the first sample, and of the one after the last."""

    def spans(self) -> Iterable[Span]:
        """The spans of its stretches, in time order."""


Catalog = Callable[[], Sequence[KnownStream]]
"""Returns the streams, in order of arrival."""


def by_frametype(streams: Sequence[KnownStream]) -> Mapping[tuple[str, str], KnownStream]:
    """The stream of each observatory and frametype."""
    known = {stream.key: stream for stream in streams}
    return {name: known[key] for name, key in frametypes(tuple(known)).items()}


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
