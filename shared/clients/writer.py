"""The writer across HTTP, called in CloudEvents and retried while it restarts."""

from __future__ import annotations

import logging
import threading
import time
import uuid
from collections.abc import Mapping, Sequence

import msgspec

from shared import events
from shared.clients import http
from shared.clients.service_token import ServiceToken
from shared.config import ConfigError, StoreConfig
from shared.decoding import json_decoder
from shared.domain.commit import CommitRequest, CommitResult, Committed
from shared.domain.messages import ErrorBody
from shared.domain.request_key import ANONYMOUS, Origin, RequestKey
from shared.domain.state import FROZEN
from shared.errors import (
    BatchChanged,
    Busy,
    Forbidden,
    OutcomeUnknown,
    Recovering,
    Unauthenticated,
    Unavailable,
    retryable_error_from_code,
)

log = logging.getLogger(__name__)

_SOURCE = "/datastore/functions"
_NOT_ADMITTED = (Unauthenticated.code, Forbidden.code)
_MIN_PAUSE, _MAX_PAUSE = 0.02, 0.5  # seconds between two tries
_results = json_decoder(list[CommitResult])
_committed = json_decoder(Committed)
_error = json_decoder(ErrorBody)


class RemoteWriter:
    """A `WriterAPI` across HTTP. Safe to use from several threads.

    A request is sent again while the writer is away or busy, for `timeout` seconds; the writer recognises it. Without
    a verdict by then the error is OutcomeUnknown. Any other error is the writer's own: nothing was decided.

    Freezes and cleanalls are sent one after another, because the queue before the writer is short.
    """

    def __init__(self, url: str, timeout: float, token: ServiceToken | None = None) -> None:
        self._url = url
        self._timeout = timeout
        self._token = token or ServiceToken("")
        self._turn = threading.Lock()

    @classmethod
    def from_config(cls, config: StoreConfig) -> RemoteWriter:
        """The writer at WRITER_URL.

        Raises:
            ConfigError: it is not set, or the service token cannot be read.
        """
        if not config.writer_url:
            raise ConfigError("WRITER_URL='': must be the writer's URL")
        return cls(config.writer_url, config.commit_timeout, ServiceToken(config.service_token))

    def commit(self, requests: Sequence[CommitRequest]) -> list[CommitResult]:
        """As `WriterAPI.commit`."""
        ids = [f"{r.spool}-{r.offset}" for r in requests]
        headers, body = events.encode_batch(events.COMMIT, _SOURCE, ids, requests)
        body = self._send(headers, body, time.monotonic() + self._timeout)
        try:
            results = _results.decode(body)
        except (msgspec.DecodeError, UnicodeDecodeError):
            raise OutcomeUnknown("The writer's answer cannot be read; send the request again with its key.") from None
        if len(results) != len(requests):
            raise OutcomeUnknown("The writer's answer has another length; send the request again with its key.")
        return results

    def set_status(
        self, user: str, token: str, status: str = FROZEN, origin: Origin = ANONYMOUS, batch: int | None = None
    ) -> Committed:
        """As `WriterAPI.set_status`."""
        return self._request(events.FREEZE, {"user": user, "token": token, "dstatus": status}, origin, batch)

    def archive_batch(self, origin: Origin = ANONYMOUS, batch: int | None = None) -> Committed:
        """As `WriterAPI.archive_batch`."""
        return self._request(events.CLEANALL, {}, origin, batch)

    def _request(self, type: str, data: dict[str, object], origin: Origin, batch: int | None) -> Committed:
        # Without a key the request is new. All our tries carry the same event id, so that it takes effect once.
        id = uuid.uuid4().hex
        key = origin.key or RequestKey(_SOURCE, id)
        meant = {} if batch is None else {"batch": batch}
        headers, body = events.encode(type, _SOURCE, id, {**data, "by": origin.by, "key": list(key), **meant})
        deadline = time.monotonic() + self._timeout
        if not self._turn.acquire(timeout=self._timeout):
            raise Busy("Other freezes or cleanalls are under way; send it again.")
        try:
            body = self._send(headers, body, deadline)
        finally:
            self._turn.release()
        try:
            done = _committed.decode(body)
            log.info("%s sent to the writer: batch %d", type.removeprefix(events.PREFIX), done.batch)
            return done
        except (msgspec.DecodeError, UnicodeDecodeError):
            raise OutcomeUnknown("The writer's answer cannot be read; send the request again with its key.") from None

    def _send(self, headers: Mapping[str, str], body: bytes, deadline: float) -> bytes:
        pause = _MIN_PAUSE
        unanswered = False
        while True:
            outcome = self._try(headers, body, max(deadline - time.monotonic(), 0.05))
            if isinstance(outcome, bytes):
                return outcome
            unanswered = unanswered or isinstance(outcome, OutcomeUnknown)
            if not isinstance(outcome, Busy | OutcomeUnknown | Recovering) or time.monotonic() + pause > deadline:
                # A refusal is about this try. An earlier one without an answer may still have taken effect.
                raise OutcomeUnknown(str(outcome)) if unanswered else outcome
            time.sleep(pause)
            pause = min(pause * 2, _MAX_PAUSE)

    def _try(self, headers: Mapping[str, str], body: bytes, timeout: float) -> bytes | Unavailable | BatchChanged:
        """Send a request once; return the answer, or the reason why there is none."""
        try:
            response = http.post(self._url, {**headers, **self._token.headers()}, body, timeout)
        except http.NoResponse as error:
            return OutcomeUnknown(str(error))
        if response.status == 200:
            return response.body
        try:
            refusal = _error.decode(response.body)
        except (msgspec.DecodeError, UnicodeDecodeError):  # a proxy's own text
            return OutcomeUnknown(f"The writer answers {response.status} and gives no reason; send it again.")
        if refusal.code in _NOT_ADMITTED:
            log.error("the writer refuses this function's credentials: set AUTH_SERVICE_TOKEN (%s)", refusal.body)
        if refusal.code == BatchChanged.code:
            return BatchChanged(refusal.body)
        return retryable_error_from_code(refusal.code, refusal.body)
