"""Replies of GlitchflowAPI to errors: the code is also in `resp`, where the original's clients look."""

from __future__ import annotations

import functools
from typing import cast

from shared import web
from shared.decoding import json_decoder
from shared.errors import BadRequest, BadSegment, Unprocessable


def with_resp(handler: web.Handler) -> web.Handler:
    """Wrap a handler so that its errors are answered with `resp`, and a bad body with 422."""

    @functools.wraps(handler)  # which keeps its requirement
    async def wrapped(request: web.Request) -> web.Response:
        try:
            return await web.run(handler, request)
        except Exception as error:
            bad_body = isinstance(error, BadRequest | BadSegment)
            response = web.error_response(Unprocessable(str(error)) if bad_body else error)
            content = json_decoder(dict[str, object]).decode(cast(bytes, response.body))
            response.body = web.encoded_error({"resp": content["code"], **content})
            return response

    return wrapped
