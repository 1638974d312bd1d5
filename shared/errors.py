"""What can go wrong, named for the domain, and the one table that says how each error is answered over HTTP.

DatastoreError
├── Rejected            the request is wrong and stays wrong: never retried
│   ├── BadSegment      not a segment: malformed JSON, wrong types, NaN, empty h, dt <= 0 ...
│   ├── BadRequest      anything else about the request that cannot be read
│   ├── BodyTooLarge
│   ├── Unprocessable   as BadRequest, in the words of GlitchflowAPI's clients
│   ├── NoSuchRoute
│   ├── NoSuchFile
│   ├── WrongMethod
│   ├── Unauthenticated nobody we know is asking
│   ├── Forbidden       somebody we know is, who may not do this
│   ├── TooSlow         the request did not arrive in time
│   └── HeaderTooLarge
└── Unavailable         the same request may succeed later: clients retry
    ├── BufferFrozen    the batch is frozen; cleanall opens the next one
    ├── Busy            the queue is full, or the writer is away or slow
    ├── Recovering      the store is starting and not ready yet
    ├── NotFrozen       the batch takes segments, or is not there any more: nothing to preprocess
    ├── NoPreproc       this process cannot make spectrograms: gwpy is missing
    ├── JournalDamaged  the journal cannot be trusted; an operator must look
    ├── StorageFailed   the volume refused a write: full, read-only, broken
    │   └── FlushFailed the same, met by Datastore Logic while it flushes
    ├── KeysMissing     the keys that JWTs are checked with have not been read yet
    └── UpstreamFailed  the service behind this one is away, or answers what it should not
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple


class DatastoreError(Exception):
    """Base of every error this library raises on purpose; its text is fit to be shown to a client.

    `headers` are the answer's, where one error of a kind has others than the next.
    """

    headers: Mapping[str, str] = {}


class Rejected(DatastoreError):
    """The request itself is at fault; sending it again cannot help."""


class BadSegment(Rejected):
    """The body is not a strain segment; the text names the field."""


class BadRequest(Rejected):
    """A parameter, header or event that cannot be understood."""


class BodyTooLarge(Rejected):
    """The body is longer than the store accepts."""


class Unprocessable(Rejected):
    """A body that GlitchflowAPI's clients got wrong."""


class NoSuchFile(Rejected):
    """The batch holds no segment of this name."""


class NoSuchRoute(Rejected):
    """Nothing is served at this path."""


class WrongMethod(Rejected):
    """The path exists, for another method."""


class Unauthenticated(Rejected):
    """No credentials, or none that are known here; the text never repeats them."""

    headers = {"WWW-Authenticate": "Bearer"}  # noqa: RUF012 - never changed


class Forbidden(Rejected):
    """Whoever asks is known, and may not do this; the text says which scope it takes."""


class TooSlow(Rejected):
    """The request did not arrive in time."""


class HeaderTooLarge(Rejected):
    """The request line and headers are longer than the store accepts."""


class Unavailable(DatastoreError):
    """The store cannot do this now; the same request may succeed later."""


class BufferFrozen(Unavailable):
    """The batch is frozen and takes no segment until cleanall."""

    def __init__(self, message: str = "Datastore frozen.") -> None:
        super().__init__(message)


class Busy(Unavailable):
    """The queue is full, or the writer did not answer in time."""


class OutcomeUnknown(Unavailable):
    """The writer did not answer in time: the request took effect once, or not at all."""


class Recovering(Unavailable):
    """The store is replaying its journal and not ready yet."""


class NotFrozen(Unavailable):
    """Products are made of a frozen batch only; it is open, was opened again, or has been filed away."""


class PreprocUnavailable(Unavailable):
    """gwpy, which makes the products, is not installed here."""


class JournalDamaged(Unavailable):
    """The journal is damaged before its tail; the text names the file and the byte offset."""


class StorageFailed(Unavailable):
    """The volume refused a write; nothing of the request was kept."""


class FlushFailed(StorageFailed):
    """The volume refused to file the batch away."""


class SigningKeysUnavailable(Unavailable):
    """The keys of an issuer of JWTs cannot be had at the moment."""


class UpstreamFailed(Unavailable):
    """The service behind this one does not answer, or not in a way that can be understood."""


class ErrorResponse(NamedTuple):
    """How an error is answered: HTTP status, machine-readable code, seconds to wait before a retry."""

    status: int
    code: str
    retry_after: int | None = None


ERROR_RESPONSES: dict[type[Exception], ErrorResponse] = {
    BadSegment: ErrorResponse(400, "ERRFMT"),
    BadRequest: ErrorResponse(400, "ERRFMT"),
    Unprocessable: ErrorResponse(422, "ERRFMT"),  # what FastAPI, in the original, answers
    Unauthenticated: ErrorResponse(401, "ERRAUTH"),
    Forbidden: ErrorResponse(403, "ERRSCOPE"),
    NoSuchRoute: ErrorResponse(404, "ERRPATH"),
    NoSuchFile: ErrorResponse(404, "ERRFILE"),
    WrongMethod: ErrorResponse(405, "ERRMETHOD"),
    TooSlow: ErrorResponse(408, "ERRSLOW"),
    BodyTooLarge: ErrorResponse(413, "ERRSIZE"),
    HeaderTooLarge: ErrorResponse(431, "ERRHEADER"),
    BufferFrozen: ErrorResponse(503, "FROZEN", 10),
    Busy: ErrorResponse(503, "BUSY", 1),
    OutcomeUnknown: ErrorResponse(503, "BUSY", 1),
    Recovering: ErrorResponse(503, "RECOVERING", 1),
    NotFrozen: ErrorResponse(409, "OPEN"),
    PreprocUnavailable: ErrorResponse(503, "NOPREPROC", 60),
    JournalDamaged: ErrorResponse(503, "DAMAGED", 60),
    StorageFailed: ErrorResponse(507, "ERRIO", 10),
    FlushFailed: ErrorResponse(500, "ERRIO", 10),  # the original's `Broken FS`
    SigningKeysUnavailable: ErrorResponse(503, "ERRKEYS", 5),
    UpstreamFailed: ErrorResponse(502, "UPSTREAM", 1),
    Exception: ErrorResponse(500, "ERRINTERNAL"),
}
"""The only place that pairs an error with a status; a subclass is answered as its nearest listed ancestor."""

_BY_CODE: dict[str, type[DatastoreError]] = {}
for _error, _answer in ERROR_RESPONSES.items():
    if issubclass(_error, DatastoreError):
        _BY_CODE.setdefault(_answer.code, _error)


def error_response_for(error: Exception) -> ErrorResponse:
    """The HTTP answer for `error`, found along its class's ancestry."""
    return next(ERROR_RESPONSES[cls] for cls in type(error).__mro__ if cls in ERROR_RESPONSES)


def retryable_error_from_code(code: str, message: str) -> DatastoreError:
    """The error another function reported as `code`: what crossed HTTP is raised again as what it was.

    A code that is not a retryable one of ours becomes `Busy`: between our own functions every other answer
    (a proxy's, a crash's) means that the outcome is unknown and the caller may try again.
    """
    found = _BY_CODE.get(code, Busy)
    return (found if issubclass(found, Unavailable) else Busy)(message)


def error_from_code(code: str, message: str) -> DatastoreError | None:
    """The error of this code, whichever it is; None if the table has no such code."""
    found = _BY_CODE.get(code)
    return found(message) if found else None
