"""HTTP statuses of errors: the one table that pairs an error with a status and a Retry-After."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import NamedTuple

import msgspec

from shared import metrics
from shared.config import ConfigError
from shared.domain.messages import ErrorBody
from shared.errors import (
    Ambiguous,
    BadRequest,
    BadSegment,
    BatchChanged,
    BodyTooLarge,
    BufferFrozen,
    Busy,
    ClockWrong,
    CrossSite,
    DatastoreError,
    FlushFailed,
    Forbidden,
    ForeignHost,
    Gap,
    HeaderTooLarge,
    JournalDamaged,
    KeyReused,
    KeysFull,
    NameTaken,
    NoData,
    NoSuchFile,
    NoSuchRoute,
    NotAcceptable,
    NotFrozen,
    OutcomeUnknown,
    PreprocUnavailable,
    RangeNotSatisfiable,
    ReaderBehind,
    Recovering,
    RemoteFailed,
    SegmentDamaged,
    SigningKeysUnavailable,
    SpanTooLong,
    StorageFailed,
    TooSlow,
    Unauthenticated,
    Unprocessable,
    UnsupportedCoding,
    UpstreamFailed,
    WrongMethod,
)
from shared.web.messages import Response

log = logging.getLogger(__name__)


class ErrorResponse(NamedTuple):
    """HTTP status of an error, and the seconds a client should wait before it retries."""

    status: int
    retry_after: int | None = None


ERROR_RESPONSES: dict[type[Exception], ErrorResponse] = {
    BadSegment: ErrorResponse(400),
    SpanTooLong: ErrorResponse(400),
    NameTaken: ErrorResponse(409),
    NoData: ErrorResponse(404),
    Gap: ErrorResponse(409),
    Ambiguous: ErrorResponse(409),
    RangeNotSatisfiable: ErrorResponse(416),
    BadRequest: ErrorResponse(400),
    Unprocessable: ErrorResponse(422),  # the status of FastAPI, in the original
    Unauthenticated: ErrorResponse(401),
    Forbidden: ErrorResponse(403),
    CrossSite: ErrorResponse(403),
    ForeignHost: ErrorResponse(421),
    NoSuchRoute: ErrorResponse(404),
    NoSuchFile: ErrorResponse(404),
    WrongMethod: ErrorResponse(405),
    NotAcceptable: ErrorResponse(406),
    TooSlow: ErrorResponse(408),
    BodyTooLarge: ErrorResponse(413),
    UnsupportedCoding: ErrorResponse(415),
    HeaderTooLarge: ErrorResponse(431),
    KeyReused: ErrorResponse(422),  # draft-ietf-httpapi-idempotency-key-header
    BatchChanged: ErrorResponse(409),
    BufferFrozen: ErrorResponse(503, 10),
    Busy: ErrorResponse(503, 1),
    OutcomeUnknown: ErrorResponse(503, 1),
    Recovering: ErrorResponse(503, 1),
    NotFrozen: ErrorResponse(409),
    ReaderBehind: ErrorResponse(503, 1),  # in the stream, where no status can be sent any more
    PreprocUnavailable: ErrorResponse(503, 60),
    JournalDamaged: ErrorResponse(503, 60),
    SegmentDamaged: ErrorResponse(500),
    KeysFull: ErrorResponse(503, 60),
    ClockWrong: ErrorResponse(503, 60),
    StorageFailed: ErrorResponse(507, 10),
    FlushFailed: ErrorResponse(500, 10),  # the original's `Broken FS`
    RemoteFailed: ErrorResponse(503, 5),
    SigningKeysUnavailable: ErrorResponse(503, 5),
    UpstreamFailed: ErrorResponse(502, 1),
    Exception: ErrorResponse(500),
}
"""A subclass that is not listed is answered as its nearest listed ancestor."""


def error_response_for(error: Exception) -> ErrorResponse:
    """The table's row for an error."""
    return next(ERROR_RESPONSES[cls] for cls in type(error).__mro__ if cls in ERROR_RESPONSES)


def error_response(error: Exception) -> Response:
    """The response to an error: its code and text as JSON. An unforeseen error is logged, and its text withheld."""
    status, retry_after = error_response_for(error)
    headers = {} if retry_after is None else {"Retry-After": str(retry_after)}
    details: Mapping[str, object] = {}
    code, message = DatastoreError.code, "internal error; the log of this process has details"
    if isinstance(error, DatastoreError):
        code, message, details = error.code, str(error), error.details
        headers.update(error.headers)
    elif isinstance(error, ConfigError):  # when the function is built: its text is enough
        log.error("%s", error)
    else:
        log.error("unforeseen error", exc_info=error)
    metrics.REFUSALS.labels(code).inc()
    body = {**msgspec.structs.asdict(ErrorBody(code, message)), **details}
    return Response(encoded(body), status, headers=headers)


def encoded(body: Mapping[str, object]) -> bytes:
    """The body of an error response; it ends its line, because people read it in a terminal."""
    return msgspec.json.encode(body) + b"\n"
