"""Origin and batch of a request that another function passes on."""

from __future__ import annotations

import msgspec

from shared import events, web
from shared.domain.request_key import Origin, RequestKey


class _PassedOn(msgspec.Struct):
    by: str = ""
    key: RequestKey | None = None
    batch: int | None = None


def passed_on(request: web.Request, event: events.Event) -> tuple[Origin, int | None]:
    """The origin that the calling function passes on, by default the event itself; and the batch that is meant."""
    data = web.read_json(event.data or b"{}", _PassedOn)
    return Origin(request.relayed(data.by), data.key or RequestKey(event.source, event.id)), data.batch
