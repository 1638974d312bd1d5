"""Large answers by HTTP's own means: HEAD, ETag with 304, and ranges with 206 and 416 (RFC 9110)."""

from __future__ import annotations

import hashlib
import itertools
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

from shared.errors import RangeNotSatisfiable
from shared.web.messages import Request, Response

# A page that was made of what clients sent: it reaches nothing, and is of another origin than the store's own pages.
_MADE_PAGE = (
    "default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'; sandbox allow-scripts allow-popups allow-popups-to-escape-sandbox "
    "allow-top-navigation-by-user-activation"
)
_RANGE = re.compile(r"bytes=([0-9]{0,18})-([0-9]{0,18})")


@dataclass(frozen=True, slots=True)
class Content:
    """An answer that may be read in parts.

    Attributes:
        type: media type.
        etag: names the content: the same only for the same bytes. Without quotes.
        size: returns the length in bytes; None where it is not known, and then there are no ranges.
        read: the bytes from an offset to before another one.
        headers: further headers.
    """

    type: str
    etag: str
    size: Callable[[], int | None]
    read: Callable[[int, int | None], Iterator[bytes]]
    headers: Mapping[str, str] = field(default_factory=dict)


def fixed_content(type: str, body: bytes, headers: Mapping[str, str] | None = None) -> Content:
    """Content that does not change, named by its checksum."""
    etag = hashlib.sha256(body).hexdigest()[:32]
    return Content(type, etag, lambda: len(body), lambda a, b: iter([body[a:b]]), headers or {})


def serve(request: Request, content: Content) -> Response:
    """Answer a GET or HEAD, as far as its headers want the content.

    Raises:
        RangeNotSatisfiable: the range begins behind the end.
        DatastoreError: whatever reading the first bytes raises; nothing has been sent then.
    """
    etag = f'"{content.etag}"'
    headers = {"ETag": etag, "X-Content-Type-Options": "nosniff", "Cache-Control": "no-cache", **content.headers}
    if content.type.startswith("text/html"):
        headers.setdefault("Content-Security-Policy", _MADE_PAGE)
    if _matches(request.headers.get("if-none-match", ""), etag):
        return Response(status=304, type=content.type, headers=headers)
    size = content.size()
    headers["Accept-Ranges"] = "none" if size is None else "bytes"
    status, start, stop = 200, 0, size
    if size is not None:
        found = None
        if request.method == "GET" and request.headers.get("if-range", etag) == etag:
            found = _range(request.headers.get("range", ""), size)
        if found is not None:
            status, (start, stop) = 206, found
            headers["Content-Range"] = f"bytes {start}-{stop - 1}/{size}"
        headers["Content-Length"] = str((size if stop is None else stop) - start)
    if request.method == "HEAD":
        return Response(b"", status, content.type, headers)
    chunks = content.read(start, stop)
    first = next(chunks, b"")  # so that an error has its own status
    return Response(itertools.chain([first], chunks), status, content.type, headers)


def _matches(header: str, etag: str) -> bool:
    return header.strip() == "*" or etag in (tag.strip().removeprefix("W/") for tag in header.split(","))


def _range(header: str, size: int) -> tuple[int, int] | None:
    """The one range that is asked for; None to send all, as for several ranges and for units other than bytes."""
    found = _RANGE.fullmatch(header.replace(" ", ""))
    if found is None or not any(found.groups()):
        return None
    first, last = found.groups()
    if not first:
        start, stop = max(size - int(last), 0), size
    else:
        start, stop = int(first), min(int(last) + 1, size) if last else size
        if last and int(last) < start:
            return None
    if start >= size:
        error = RangeNotSatisfiable(f"the content has {size} bytes: ask for a range that begins before its end")
        error.headers = {"Content-Range": f"bytes */{size}"}
        raise error
    return start, stop
