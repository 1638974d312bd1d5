"""The Data Buffer behind a broker: freeze and cleanall as CloudEvents."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable

from shared import events
from shared.clients.event_sink import EventSink
from shared.clients.services import RemoteBuffer
from shared.config import ServiceEndpoints
from shared.domain.commit import Committed
from shared.domain.messages import CLEANED, as_json_text
from shared.domain.request_key import ANONYMOUS, Origin
from shared.domain.state import FROZEN
from shared.errors import BatchChanged, OutcomeUnknown

_POLL = 0.1  # seconds


class BrokerBuffer(RemoteBuffer):
    """Sends freeze and cleanall through the broker, and polls until they have taken effect.

    The broker's response only says that it has the event. The event's id is the client's idempotency key, so that a
    client may send a request again.
    """

    def __init__(self, endpoints: ServiceEndpoints) -> None:
        super().__init__(endpoints)
        self._timeout = endpoints.timeout
        self._sink = EventSink(endpoints.sink, f"{endpoints.source}/logic", timeout=endpoints.timeout)

    def freeze(self, user: str, token: str, origin: Origin = ANONYMOUS, batch: int | None = None) -> Committed:
        """As `DataBuffer.freeze`; OutcomeUnknown if it has not taken effect in time."""
        self._sink.publish(events.FREEZE, _id(origin), {"user": user, "token": token, **self._meant(batch)})
        self._wait(lambda: self.dstat().status == FROZEN)
        counts = self.stat()
        return Committed(counts.segments, counts.bytes, FROZEN)

    def cleanall(self, origin: Origin = ANONYMOUS, batch: int | None = None) -> str:
        """As `DataBuffer.cleanall`; OutcomeUnknown if it has not taken effect in time.

        The effect on an empty batch cannot be seen, so there it does not wait.
        """
        first = next(iter(self.names(limit=1)), "")
        self._sink.publish(events.CLEANALL, _id(origin), self._meant(batch))
        self._wait(lambda: not first or first not in self.names(limit=1))
        return as_json_text(CLEANED)

    def _meant(self, batch: int | None) -> dict[str, object]:
        """The member of the event; BatchChanged if it is not open now, because a refused event answers nobody."""
        if batch is None:
            return {}
        now = self.archives(limit=1).open
        if now is not None and now.batch != batch:
            raise BatchChanged(f"batch {batch} is not open, batch {now.batch} is; nothing was done")
        return {"batch": batch}

    def _wait(self, done: Callable[[], bool]) -> None:
        deadline = time.monotonic() + self._timeout
        while not done():
            if time.monotonic() > deadline:
                raise OutcomeUnknown("The event has not taken effect yet; send the request again with its key.")
            time.sleep(_POLL)


def _id(origin: Origin) -> str:
    return origin.key.id if origin.key else uuid.uuid4().hex
