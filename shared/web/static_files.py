"""Static files: pages and their assets, served from a package's folder; pages load nothing from elsewhere."""

from __future__ import annotations

import hashlib
from functools import cache
from importlib.resources.abc import Traversable

from shared import auth
from shared.web.compression import accepts_gzip, compress
from shared.web.conditional import Content, serve
from shared.web.messages import Handler, Request, Response

_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
# The plotting and documentation libraries set styles themselves; pictures may come from another function.
_POLICY = (
    "default-src 'self'; img-src 'self' data: blob: http: https:; style-src 'self' 'unsafe-inline'; "
    "frame-ancestors 'none'"
)


def serve_file(path: Traversable) -> Handler:
    """Make a handler that responds with a file, without authentication. Its gzip is made once."""
    headers = {
        "Cache-Control": "no-cache" if path.name.endswith(".html") else "max-age=300",
        "Content-Security-Policy": _POLICY,
        "Vary": "Accept-Encoding",
    }
    type = _TYPES[path.name[path.name.rindex(".") :]]

    @cache
    def content(gzip: bool) -> Content:
        body = compress(path.read_bytes()) if gzip else path.read_bytes()
        etag = hashlib.sha256(body).hexdigest()[:32]
        coding = {"Content-Encoding": "gzip"} if gzip else {}
        return Content(type, etag, lambda: len(body), lambda a, b: iter([body[a:b]]), {**headers, **coding})

    @auth.requires(auth.OPEN)
    def respond(request: Request) -> Response:
        return serve(request, content(accepts_gzip(request.headers.get("accept-encoding", ""))))

    return respond
