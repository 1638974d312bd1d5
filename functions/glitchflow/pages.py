"""The interactive documentation at `/docs`: Swagger UI over `/openapi.json`."""

from __future__ import annotations

from importlib.resources import files

from shared import web
from shared.web.static_files import serve_file


def routes() -> web.Routes:
    """The routes of the page and its assets."""
    static = files("functions.glitchflow") / "static"
    swagger = files("flask_swagger_ui") / "dist"
    return {
        ("GET", "/docs"): serve_file(static / "docs.html", "This documentation, to be tried", "glitchflow"),
        ("GET", "/docs/docs.css"): serve_file(static / "docs.css"),
        ("GET", "/docs/docs.js"): serve_file(static / "docs.js"),
        ("GET", "/docs/icon.svg"): serve_file(static / "icon.svg"),
        ("GET", "/docs/swagger-ui.css"): serve_file(swagger / "swagger-ui.css"),
        ("GET", "/docs/swagger-ui-bundle.js"): serve_file(swagger / "swagger-ui-bundle.js"),
    }
