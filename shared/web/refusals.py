"""The log of refused requests: those that may not be sent at all, and refusals of requests that would write."""

from __future__ import annotations

import logging
import threading
import time
from collections import OrderedDict

import msgspec

from shared.decoding import json_decoder
from shared.domain.messages import ErrorBody
from shared.log_format import fields
from shared.web.messages import Request, Response

log = logging.getLogger(__name__)

PERIOD = 60.0  # seconds
MAX_SAME = 5  # lines in a period about the same client and status
MAX_LINES = 100  # lines in a period
_MAX_CLIENTS = 1024
_ALWAYS = (401, 403, 421)  # whoever sends it, and whatever it asks for
_MAX_TEXT = 300  # characters of path and reason


class RefusalLog:
    """Logs refusals with client and reason, a bounded number of lines in a minute. Safe to use from several threads.

    The line after suppressed ones of the same client and status gives their number; `datastore_refusals_total` counts
    all of them.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._began = 0.0
        self._lines = 0
        self._seen: OrderedDict[tuple[str, int], int] = OrderedDict()  # number in this period
        self._suppressed: OrderedDict[tuple[str, int], int] = OrderedDict()

    def note(self, method: str, path: str, address: str, request: Request | None, response: Response) -> None:
        """Log the response to a request, if it is a refusal.

        `address` is that of the other end of the connection, behind a gateway the gateway's. `request` is None if it
        was not admitted.
        """
        if response.status < 400 or (method in ("GET", "HEAD") and response.status not in _ALWAYS):
            return
        caller = request.caller if request is not None else ""
        key = (caller or address, response.status)
        suppressed = self._take(key)
        if suppressed is None:
            return
        reason = response.body.decode(errors="replace") if isinstance(response.body, bytes) else ""
        told = _told(reason)
        # repr, because a path or a name with a line break must not look like a line of this log.
        log.warning(
            "refused %s %r: %d %r, from %s, request %s%s",
            method, path[:_MAX_TEXT], response.status, reason[:_MAX_TEXT],
            f"{caller[:_MAX_TEXT]!r} at {address}" if caller else address,
            response.headers.get("X-Request-ID", "?"),
            f" ({suppressed} more since the last such line)" if suppressed else "",
            extra=fields(
                request.trace if request is not None else None,
                status=response.status, code=told.code, method=method, path=path[:_MAX_TEXT],
                caller=caller[:_MAX_TEXT], address=address, reason=told.body[:_MAX_TEXT],
                request_id=response.headers.get("X-Request-ID", ""), suppressed=suppressed,
            ),
        )  # fmt: skip

    def _take(self, key: tuple[str, int]) -> int | None:
        """Take a line for a client and status: the number suppressed before it, or None if there is no line left."""
        with self._lock:
            now = time.monotonic()
            if now - self._began > PERIOD:
                self._began, self._lines = now, 0
                self._seen.clear()
            self._seen[key] = self._seen.get(key, 0) + 1
            if self._seen[key] > MAX_SAME or self._lines >= MAX_LINES:
                self._suppressed[key] = self._suppressed.get(key, 0) + 1
                if len(self._suppressed) > _MAX_CLIENTS:
                    self._suppressed.popitem(last=False)
                if len(self._seen) > _MAX_CLIENTS:
                    self._seen.popitem(last=False)
                return None
            self._lines += 1
            return self._suppressed.pop(key, 0)


def _told(text: str) -> ErrorBody:
    """The code and the reason in the body of a refusal; without a code where it is plain text."""
    try:
        return json_decoder(ErrorBody).decode(text)
    except msgspec.DecodeError:
        return ErrorBody("", text)


REFUSALS = RefusalLog()
