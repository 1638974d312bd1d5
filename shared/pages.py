"""The pages and their assets: the status page, and the interactive documentation; nothing is loaded from elsewhere."""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from importlib.resources.abc import Traversable

from shared import auth, web

_STATIC = files("shared") / "static"
_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
# Styles are also set by the plotting and documentation libraries themselves; pictures may be another function's.
_POLICY = (
    "default-src 'self'; img-src 'self' data: blob: http: https:; style-src 'self' 'unsafe-inline'; "
    "frame-ancestors 'none'"
)


def status() -> web.Routes:
    """The status page at `/`."""
    assets = ("status.css", "status.js", "uPlot.min.css", "uPlot.iife.min.js", "icon.svg")
    return {
        ("GET", "/"): _serve(_STATIC / "status.html"),
        **{("GET", f"/assets/{name}"): _serve(_STATIC / name) for name in assets},
    }


def docs() -> web.Routes:
    """Swagger UI at `/docs`, about `/openapi.json`."""
    swagger = files("flask_swagger_ui") / "dist"
    return {
        ("GET", "/docs"): _serve(_STATIC / "docs.html"),
        ("GET", "/docs/docs.js"): _serve(_STATIC / "docs.js"),
        ("GET", "/docs/icon.svg"): _serve(_STATIC / "icon.svg"),
        ("GET", "/docs/swagger-ui.css"): _serve(swagger / "swagger-ui.css"),
        ("GET", "/docs/swagger-ui-bundle.js"): _serve(swagger / "swagger-ui-bundle.js"),
    }


def _serve(path: Traversable) -> web.Handler:
    headers = {
        "Cache-Control": "no-cache" if path.name.endswith(".html") else "max-age=300",
        "Content-Security-Policy": _POLICY,
        "X-Content-Type-Options": "nosniff",
    }
    type = _TYPES[path.name[path.name.rindex(".") :]]
    read = cache(path.read_bytes)

    @auth.needs(auth.OPEN)
    def serve(call: web.Call) -> web.Reply:
        return web.Reply(read(), type=type, headers=headers)

    return serve
