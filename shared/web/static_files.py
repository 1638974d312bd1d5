"""Static files: pages and their assets, served from a package's folder; pages load nothing from elsewhere."""

from __future__ import annotations

from functools import cache
from importlib.resources.abc import Traversable

from shared import auth
from shared.web.compression import accepts_gzip, compress
from shared.web.conditional import Content, fixed_content, serve
from shared.web.describe import HTML, describe, undocumented
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
    "object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)


def serve_file(path: Traversable, summary: str = "", service: str = "") -> Handler:
    """Make a handler that responds with a file, without authentication. Its gzip is made once.

    A page has a summary, and the function that serves it, for the OpenAPI document. The parts of pages have none.
    """
    headers = {
        "Cache-Control": "no-cache" if path.name.endswith(".html") else "max-age=300",
        "Content-Security-Policy": _POLICY,
        "Vary": "Accept-Encoding",
    }
    type = _TYPES[path.name[path.name.rindex(".") :]]

    @cache
    def content(gzip: bool) -> Content:
        body = compress(path.read_bytes()) if gzip else path.read_bytes()
        coding = {"Content-Encoding": "gzip"} if gzip else {}
        return fixed_content(type, body, {**headers, **coding})

    @describe(summary, service=service, media=(HTML,)) if summary else undocumented
    @auth.requires(auth.OPEN)
    def respond(request: Request) -> Response:
        return serve(request, content(accepts_gzip(request.headers.get("accept-encoding", ""))))

    return respond
