"""The status page at `/`, with its assets."""

from __future__ import annotations

from importlib.resources import files

from shared import web
from shared.web.static_files import serve_file

_STATIC = files("functions.logic") / "static"
_SCRIPTS = (
    "status", "access", "archives", "channels", "datasets", "format", "gpstime", "operate", "pictures", "plots",
    "spectrum", "streams", "tables", "viewer", "words",
)  # fmt: skip
_ASSETS = ("status.css", "uPlot.min.css", "uPlot.iife.min.js", "icon.svg", *(f"{name}.js" for name in _SCRIPTS))


def routes() -> web.Routes:
    """The routes of the page and its assets."""
    return {
        ("GET", "/"): serve_file(_STATIC / "status.html", "The status page", "logic"),
        **{("GET", f"/assets/{name}"): serve_file(_STATIC / name) for name in _ASSETS},
    }
