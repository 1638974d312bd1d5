"""Replies of Datastore Logic where the original answers an error with plain text."""

from __future__ import annotations

from shared import web


def plain_text_error(error: Exception) -> web.Response:
    """The response to an error, with its text alone as the body."""
    response = web.error_response(error)
    return web.text(str(error), response.status, response.headers)
