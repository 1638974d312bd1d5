"""HTTP as functions see it: requests in, responses out. `asgi` and `wsgi` serve it."""

from shared.web.app import (
    JSON,
    NO_CONTENT,
    App,
    Handler,
    Request,
    Response,
    Routes,
    error_response,
    in_words,
    json,
    json_list,
    pagination,
    read_json,
    run,
    text,
    with_resp,
)

__all__ = [
    "JSON",
    "NO_CONTENT",
    "App",
    "Handler",
    "Request",
    "Response",
    "Routes",
    "error_response",
    "in_words",
    "json",
    "json_list",
    "pagination",
    "read_json",
    "run",
    "text",
    "with_resp",
]
