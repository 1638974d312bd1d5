"""Compressed bodies: gzip in requests and in responses (RFC 9110, 8.4 and 12.5.3; RFC 1952)."""

from __future__ import annotations

import functools
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping

from shared.errors import BadRequest, UnsupportedCoding
from shared.web.messages import Response

MIN_SIZE = 1024  # bytes; a shorter response gains less than the header costs
_GZIP = 16 + zlib.MAX_WBITS
_LEVEL = 4  # because a response is compressed once for each request
_STEP = 64 << 10  # bytes that are inflated at a time
_INLINE = 64 << 10  # bytes; a longer response is compressed while it is streamed, on a thread
_TYPES = frozenset({"application/json", "text/plain", "text/csv", "text/html", "image/svg+xml"})  # no event streams


def is_gzip(coding: str) -> bool:
    """Whether a Content-Encoding says gzip; False if it says that the body is as it is.

    Raises:
        UnsupportedCoding: it says anything else.
    """
    name = coding.strip().lower()
    if name in ("", "identity"):
        return False
    if name in ("gzip", "x-gzip"):
        return True
    error = UnsupportedCoding(f"Content-Encoding {coding[:40]!r} is not read: send the body with gzip, or as it is")
    error.headers = {"Accept-Encoding": "gzip"}
    raise error


def inflate(body: bytes, reserve: Callable[[int], None]) -> bytes:
    """Inflate a body of one gzip member.

    Args:
        body: as it was received.
        reserve: called with the bytes so far, before more are inflated; raises if they are too many.

    Raises:
        BadRequest: it is no gzip, is cut short, or has bytes behind its end.
    """
    stream = zlib.decompressobj(wbits=_GZIP)
    parts: list[bytes] = []
    length = 0
    # In slices, because zlib copies what it has not read yet at each step.
    slices = (body[start : start + _STEP] for start in range(0, len(body), _STEP))
    rest = next(slices, b"")
    try:
        while not stream.eof:
            part = stream.decompress(rest, _STEP)
            length += len(part)
            reserve(length)
            parts.append(part)
            rest = stream.unconsumed_tail or next(slices, b"")
            if not (part or rest or stream.eof):
                raise BadRequest("the gzip body is cut short")
    except zlib.error:
        raise BadRequest("the body is not gzip, as its Content-Encoding says") from None
    if stream.unused_data or rest:
        raise BadRequest("the gzip body must be one member, with nothing behind its end")
    return b"".join(parts)


def compress(body: bytes) -> bytes:
    """A body as gzip."""
    return zlib.compress(body, 9, wbits=_GZIP)


def compressed(response: Response, method: str, headers: Mapping[str, str]) -> Response:
    """A response as its client accepts it: with gzip if it is text of some length, and whole.

    Neither parts nor what is compressed already is compressed. The ETag becomes a weak one, because the bytes differ.
    """
    own = response.headers
    body = response.body
    if response.status != 200 or response.type.partition(";")[0] not in _TYPES or "Content-Encoding" in own:
        return response
    vary = {**own, "Vary": "Accept-Encoding"}
    if method == "HEAD" or not accepts_gzip(headers.get("accept-encoding", "")):
        return Response(response.body, response.status, response.type, vary)
    whole = ("Content-Length", "Accept-Ranges", "ETag")
    sent = {name: value for name, value in vary.items() if name not in whole} | {"Content-Encoding": "gzip"}
    if "ETag" in own:
        sent["ETag"] = f"W/{own['ETag'].removeprefix('W/')}"
    if isinstance(body, bytes) and len(body) <= _INLINE:
        return Response(zlib.compress(body, _LEVEL, wbits=_GZIP), response.status, response.type, sent)
    return Response(_deflated([body] if isinstance(body, bytes) else body), response.status, response.type, sent)


def _deflated(chunks: Iterable[bytes]) -> Iterator[bytes]:
    stream = zlib.compressobj(_LEVEL, wbits=_GZIP)
    for chunk in chunks:
        if part := stream.compress(chunk):
            yield part
    yield stream.flush()


@functools.lru_cache(maxsize=64)
def accepts_gzip(header: str) -> bool:
    """Whether an Accept-Encoding allows gzip."""
    weights = {}
    for item in header.lower().split(",")[:32]:
        name, _, parameters = item.partition(";")
        quality = parameters.replace(" ", "").removeprefix("q=")
        weights[name.strip()] = quality.strip("0.") != "" or not quality
    return weights.get("gzip", weights.get("*", False))
