"""HTTP as functions see it: requests in, responses out. `asgi` and `wsgi` serve it."""

from shared.web.app import App, no_body, run, small_body, takes_blocks
from shared.web.conditional import Content, serve
from shared.web.describe import Parameter, describe, undocumented
from shared.web.error_responses import encoded as encoded_error
from shared.web.error_responses import error_response
from shared.web.event_routes import Action, dispatch_events, on_events
from shared.web.messages import (
    JSON,
    NO_CONTENT,
    EndlessBody,
    Handler,
    Request,
    Response,
    Routes,
    file,
    idempotency_key,
    json,
    json_list,
    name_list,
    next_page,
    of_batch,
    pagination,
    read_json,
    seconds,
    status_update,
    text,
    whole_number,
)

__all__ = [
    "JSON",
    "NO_CONTENT",
    "Action",
    "App",
    "Content",
    "EndlessBody",
    "Handler",
    "Parameter",
    "Request",
    "Response",
    "Routes",
    "describe",
    "dispatch_events",
    "encoded_error",
    "error_response",
    "file",
    "idempotency_key",
    "json",
    "json_list",
    "name_list",
    "next_page",
    "no_body",
    "of_batch",
    "on_events",
    "pagination",
    "read_json",
    "run",
    "seconds",
    "serve",
    "small_body",
    "status_update",
    "takes_blocks",
    "text",
    "undocumented",
    "whole_number",
]
