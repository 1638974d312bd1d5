"""The origin of a request that another function passes on."""

from __future__ import annotations

import msgspec

from shared import events, web
from shared.domain.request_key import Origin, RequestKey


class _PassedOn(msgspec.Struct):
    by: str = ""
    key: RequestKey | None = None


def passed_on_origin(request: web.Request, event: events.Event) -> Origin:
    """The origin that the calling function passes on; by default the event itself."""
    passed_on = web.read_json(event.data or b"{}", _PassedOn)
    return Origin(request.relayed(passed_on.by), passed_on.key or RequestKey(event.source, event.id))
