"""Compressed bodies: gzip and zstd in requests, gzip in responses (RFC 9110, 8.4 and 12.5.3; 1952, 8878, 9659)."""

from __future__ import annotations

import functools
import sys
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Protocol

from shared.errors import BadRequest, UnsupportedCoding
from shared.web.messages import Response

MIN_SIZE = 1024  # bytes; a shorter response gains less than the header costs
_GZIP = 16 + zlib.MAX_WBITS
_ZSTD_WINDOW_LOG = 23  # 8 MB, the memory that a frame may have a decoder take (RFC 9659)
_LEVEL = 4  # because a response is compressed once for each request
_STEP = 64 << 10  # bytes that are inflated at a time
_INLINE = 64 << 10  # bytes; a longer response is compressed while it is streamed, on a thread
_TYPES = frozenset({"application/json", "text/plain", "text/csv", "text/html", "image/svg+xml"})  # no event streams


def coding_of(header: str) -> str:
    """The coding that a Content-Encoding names, "gzip" or "zstd"; empty if the body is as it is.

    Raises:
        UnsupportedCoding: it says anything else.
    """
    name = header.strip().lower()
    if name in ("", "identity"):
        return ""
    if name in ("gzip", "x-gzip"):
        return "gzip"
    if name == "zstd":
        return name
    error = UnsupportedCoding(
        f"Content-Encoding {header[:40]!r} is not read: send the body with gzip or zstd, or as it is"
    )
    error.headers = {"Accept-Encoding": "gzip, zstd"}
    raise error


class _Decoder(Protocol):
    """The part of the standard library's decompressors that is used."""

    @property
    def eof(self) -> bool: ...

    @property
    def needs_input(self) -> bool: ...

    @property
    def unused_data(self) -> bytes: ...

    def decompress(self, data: bytes, max_length: int) -> bytes: ...


class _GzipDecoder:
    """zlib's decompressor as a `_Decoder`."""

    def __init__(self) -> None:
        self._stream = zlib.decompressobj(wbits=_GZIP)

    @property
    def eof(self) -> bool:
        return self._stream.eof

    @property
    def needs_input(self) -> bool:
        return not self._stream.unconsumed_tail

    @property
    def unused_data(self) -> bytes:
        return self._stream.unused_data

    def decompress(self, data: bytes, max_length: int) -> bytes:
        return self._stream.decompress(data or self._stream.unconsumed_tail, max_length)


def _decoder(coding: str) -> tuple[_Decoder, type[Exception]]:
    """A decoder, and its error. A frame of zstd whose window is longer than RFC 9659 allows is an error."""
    if coding == "gzip":
        return _GzipDecoder(), zlib.error
    # Imported only here, because few clients send it.
    if sys.version_info >= (3, 14):
        from compression import zstd
    else:
        from backports import zstd
    options: dict[int, int] = {zstd.DecompressionParameter.window_log_max: _ZSTD_WINDOW_LOG}
    return zstd.ZstdDecompressor(options=options), zstd.ZstdError


def inflate(body: bytes, coding: str, reserve: Callable[[int], None]) -> bytes:
    """Inflate a body of one gzip member, or of one zstd frame.

    Args:
        body: as it was received.
        coding: "gzip" or "zstd".
        reserve: called with the bytes so far, before more are inflated; raises if they are too many.

    Raises:
        BadRequest: it is not of that coding, is cut short, or has bytes behind its end.
    """
    stream, broken = _decoder(coding)
    parts: list[bytes] = []
    length = 0
    # In slices, because a decoder copies what it has not read yet at each step.
    slices = (body[start : start + _STEP] for start in range(0, len(body), _STEP))
    try:
        while not stream.eof:
            data = next(slices, b"") if stream.needs_input else None  # None: what it has read is not all out yet
            part = stream.decompress(data or b"", _STEP)
            length += len(part)
            reserve(length)
            parts.append(part)
            if data == b"" and not (part or stream.eof):
                raise BadRequest(f"the {coding} body is cut short")
    except broken:
        raise BadRequest(f"the body is not {coding}, as its Content-Encoding says") from None
    if stream.unused_data or next(slices, b""):
        unit = "member" if coding == "gzip" else "frame"
        raise BadRequest(f"the {coding} body must be one {unit}, with nothing behind its end")
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
