"""Streams as the protocols of the field's clients see them, and what their requests have in common."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from fractions import Fraction
from typing import Protocol

from shared import web
from shared.catalog import catalog as store
from shared.catalog.catalog import Indexed
from shared.catalog.tracks import Track
from shared.domain.frame_names import Key, Span
from shared.errors import BadRequest
from shared.storage.batches import ALL_BATCHES

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


class _Indexed:
    """The streams of batches."""

    def __init__(self, batches: Sequence[Indexed]) -> None:
        self._batches = batches

    def known(self) -> tuple[Key, ...]:
        return known(self._batches)

    def extent(self, key: Key) -> Span:
        return self._track(key).ends()

    def spans(self, key: Key, start: Fraction | None = None, end: Fraction | None = None) -> Iterable[Span]:
        return self._track(key).spans(start, end)

    def _track(self, key: Key) -> Track:
        return Track(key, [batch for batch in self._batches if key in batch.index.streams])


def known(batches: Sequence[Indexed]) -> tuple[Key, ...]:
    """The streams of batches, in order of arrival."""
    return tuple(dict.fromkeys(key for batch in batches for key in batch.index.streams))


def streams_of(catalog: store.Catalog) -> Catalog:
    """The streams of all batches of a store."""

    @contextmanager
    def look() -> Iterator[StreamIndex]:
        with catalog.look(ALL_BATCHES) as batches:
            yield _Indexed(batches)

    return look


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
