"""The writer as the other functions see it: across HTTP, spoken to in CloudEvents, patient while it restarts."""

from __future__ import annotations

import logging
import time
import uuid
from collections.abc import Sequence

import msgspec

from shared import events
from shared.clients import http
from shared.clients.service_token import ServiceToken
from shared.config import ConfigError, StoreConfig
from shared.domain.commit import CommitRequest, CommitResult
from shared.domain.state import FROZEN
from shared.errors import (
    ERROR_RESPONSES,
    Busy,
    DatastoreError,
    Forbidden,
    Recovering,
    Unauthenticated,
    retryable_error_from_code,
)

log = logging.getLogger(__name__)

_NOT_ADMITTED = {ERROR_RESPONSES[Unauthenticated].status, ERROR_RESPONSES[Forbidden].status}
_SOURCE = "/datastore/functions"
_verdicts = msgspec.json.Decoder(list[CommitResult])


class _Refusal(msgspec.Struct):
    code: str
    body: str = ""


_refusal = msgspec.json.Decoder(_Refusal)


def writer_at(settings: StoreConfig) -> RemoteWriter:
    """The writer at WRITER_URL.

    Raises:
        ConfigError: it is not set, or the service token cannot be read.
    """
    if not settings.writer_url:
        raise ConfigError("WRITER_URL='': must be the writer's URL")
    return RemoteWriter(settings.writer_url, settings.commit_timeout, ServiceToken(settings.service_token))


class RemoteWriter:
    """Same requests and errors as `Writer`'s. Safe to use from several threads.

    A request is repeated until it is answered or `patience` seconds are over; the writer knows repetitions.
    """

    def __init__(self, url: str, patience: float, credential: ServiceToken | None = None) -> None:
        self._url = url
        self._patience = patience
        self._credential = credential or ServiceToken("")

    def commit(self, submissions: Sequence[CommitRequest]) -> list[CommitResult]:
        """As `Writer.commit`; Busy here means that the outcome is not known."""
        ids = [f"{s.spool}-{s.offset}" for s in submissions]
        verdicts = _verdicts.decode(self._send(*events.encode_batch(events.COMMIT, _SOURCE, ids, submissions)))
        if len(verdicts) != len(submissions):
            raise Busy("The writer's answer does not match the question.")
        return verdicts

    def set_status(self, user: str, token: str, status: str = FROZEN, key: str = "") -> None:
        """As `Writer.set_status`."""
        self._request(events.FREEZE, {"user": user, "token": token, "dstatus": status}, key)

    def archive_batch(self, key: str = "") -> None:
        """As `Writer.archive_batch`."""
        self._request(events.CLEANALL, {}, key)

    def _request(self, type: str, data: dict[str, object], key: str) -> None:
        # The key travels as the event's id under a source of our own; without one the request is new each time,
        # but one and the same over all our own repetitions of it.
        self._send(*events.encode(type, _SOURCE, key or uuid.uuid4().hex, data))

    def _send(self, headers: dict[str, str], body: bytes) -> bytes:
        deadline = time.monotonic() + self._patience
        pause = 0.02
        unanswered = False
        while True:
            try:
                headers |= self._credential.headers()
                status, answer = http.post(self._url, headers, body, max(deadline - time.monotonic(), 0.05))
                if status == 200:
                    return answer
                if status in _NOT_ADMITTED:
                    log.error("the writer does not take this function's credentials: %d", status)
                error = _error(answer)
            except Busy as busy:
                error, unanswered = busy, True
            if not isinstance(error, (Busy, Recovering)) or time.monotonic() + pause > deadline:
                # A refusal is about this repetition, not about an earlier one that was not answered.
                raise Busy(str(error)) if unanswered else error
            time.sleep(pause)
            pause = min(pause * 2, 0.5)


def _error(answer: bytes) -> DatastoreError:
    try:
        refusal = _refusal.decode(answer)
    except msgspec.DecodeError:  # a proxy's own words
        return Busy("The writer does not answer.")
    return retryable_error_from_code(refusal.code, refusal.body)
