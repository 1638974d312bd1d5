"""Asking for freeze and cleanall by CloudEvent, through a broker, and waiting until it has been done."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable

from shared import events
from shared.clients import http
from shared.clients.services import RemoteBuffer
from shared.config import ServiceEndpoints
from shared.domain.messages import CLEANED
from shared.domain.state import FROZEN
from shared.errors import Busy, UpstreamFailed
from shared.logic.data_buffer import Counts, as_json_text


class BrokerBuffer(RemoteBuffer):
    """A `RemoteBuffer` that asks for freeze and cleanall by event.

    A broker only says that it has taken the event. The answer to a client still means that it is done: it waits for
    the store's state to say so. The event's id is the client's idempotency key, so asking again is safe.
    """

    def __init__(self, upstream: ServiceEndpoints) -> None:
        super().__init__(upstream)
        self._upstream = upstream

    def freeze(self, user: str, token: str, key: str = "") -> Counts:
        """As `Buffer.freeze`; Busy where it is asked for and not done in time."""
        self._publish(events.FREEZE, {"user": user, "token": token}, key)
        self._wait(lambda: self.dstat().dstatus == FROZEN)
        return self.stat()

    def cleanall(self, key: str = "") -> str:
        """As `Buffer.cleanall`; Busy where it is asked for and not done in time.

        An empty batch leaves no trace when it is filed away: there nothing is waited for.
        """
        first = next(iter(self.names(limit=1)), "")
        self._publish(events.CLEANALL, {}, key)
        self._wait(lambda: not first or first not in self.names(limit=1))
        return as_json_text(CLEANED)

    def _publish(self, type: str, data: dict[str, object], key: str) -> None:
        event = events.encode(type, f"{self._upstream.source}/logic", key or uuid.uuid4().hex, data)
        try:
            status, _ = http.post(self._upstream.sink, *event, timeout=self._upstream.timeout)
        except Busy as error:
            raise UpstreamFailed(str(error)) from error
        if not 200 <= status < 300:
            raise UpstreamFailed(f"{self._upstream.sink} answers {status}")

    def _wait(self, done: Callable[[], bool]) -> None:
        deadline = time.monotonic() + self._upstream.timeout
        while not done():
            if time.monotonic() > deadline:
                raise Busy("It has been asked for, and is not done yet.")
            time.sleep(0.1)
