"""Static files: pages and their assets, served from a package's folder; pages load nothing from elsewhere."""

from __future__ import annotations

from functools import cache
from importlib.resources.abc import Traversable

from shared import auth
from shared.web.messages import Handler, Request, Response, file

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
    """Make a handler that responds with a file, without authentication."""
    headers = {
        "Cache-Control": "no-cache" if path.name.endswith(".html") else "max-age=300",
        "Content-Security-Policy": _POLICY,
    }
    type = _TYPES[path.name[path.name.rindex(".") :]]
    content = cache(path.read_bytes)

    @auth.requires(auth.OPEN)
    def serve(request: Request) -> Response:
        return file(content(), type, headers)

    return serve
