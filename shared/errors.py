"""Errors, named for the domain, each with the code that clients read. `web/error_responses.py` has their statuses.

DatastoreError
├── Rejected            the request is wrong and stays wrong: clients do not retry
│   ├── BadSegment      not a segment: malformed JSON, wrong types, NaN, empty h, dt <= 0 ...
│   ├── BadRequest      any other part of the request that cannot be read
│   ├── Unprocessable   a BadRequest or BadSegment as GlitchflowAPI answers it
│   ├── BodyTooLarge
│   ├── UnsupportedCoding       the body is compressed in a way that is not read
│   ├── KeyReused       the request's key named another payload before
│   ├── BatchChanged    pages of two batches would be mixed
│   ├── NameTaken       another request has that name
│   ├── SpanTooLong     more samples than MAX_SPAN
│   ├── NoData          no strain of that channel at that time
│   ├── Gap             part of the strain is missing
│   ├── Ambiguous       several streams match
│   ├── RangeNotSatisfiable     the range begins behind the end
│   ├── NoSuchRoute
│   ├── NoSuchFile
│   ├── WrongMethod
│   ├── NotAcceptable   the answer cannot be had in this format here
│   ├── Unauthenticated no valid credentials
│   ├── Forbidden       valid credentials without the scope
│   ├── CrossSite       sent by a web page of another site
│   ├── ForeignHost     sent to a name that is not the store's
│   ├── TooSlow         the request did not arrive in time
│   └── HeaderTooLarge
└── Unavailable         the same request may succeed later: clients retry
    ├── BufferFrozen    the batch is frozen; cleanall opens the next one
    ├── Busy            nothing was done: a queue is full, or a lock was not free in time
    ├── OutcomeUnknown  no answer in time: the request took effect once, or not at all
    ├── Recovering      the store is starting
    ├── NotFrozen       the batch is open or archived: nothing to preprocess
    ├── PreprocUnavailable      gwpy is not installed in this process
    ├── JournalDamaged  the journal fails its checks; an operator must look
    ├── SegmentDamaged  a segment's file is not what was stored
    ├── KeysFull        no memory for more idempotency keys
    ├── ClockWrong      the clock is beyond what file names can carry
    ├── StorageFailed   the volume refused a write: full, read-only, broken
    │   └── FlushFailed the same, in Datastore Logic's flush
    ├── RemoteFailed    ARCHIVE_URL does not answer, or not as it should
    ├── SigningKeysUnavailable  the keys that verify JWTs are not loaded yet
    └── UpstreamFailed  the service behind does not answer, or not as it should
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import ClassVar


class DatastoreError(Exception):
    """Base of every error that this library raises on purpose. Its text may be shown to clients.

    Attributes:
        code: names the kind of error to clients and in metrics.
        headers: further headers of the response, where an error has its own.
        details: further members of the response's body.
    """

    code: ClassVar[str] = "ERRINTERNAL"
    headers: Mapping[str, str] = {}
    details: Mapping[str, object] = {}


class Rejected(DatastoreError):
    """The request itself is wrong; sending it again cannot help."""


class BadSegment(Rejected):
    """The body is not a strain segment; the text names the field."""

    code = "ERRFMT"


class BadRequest(Rejected):
    """A parameter, header, body or event cannot be read; the text names it."""

    code = "ERRFMT"


class Unprocessable(Rejected):
    """A bad body, as GlitchflowAPI answers it."""

    code = "ERRFMT"


class BodyTooLarge(Rejected):
    """The body is longer than MAX_BODY."""

    code = "ERRSIZE"


class UnsupportedCoding(Rejected):
    """The body's Content-Encoding is not read here; the text says which is."""

    code = "ERRENCODING"


class KeyReused(Rejected):
    """The key named a request with another payload before; the text names that one."""

    code = "ERRKEY"


class BatchChanged(Rejected):
    """Another batch is open than the request names."""

    code = "ERRBATCH"


class NoSuchFile(Rejected):
    """The batch holds no segment of this name."""

    code = "ERRFILE"


class NameTaken(Rejected):
    """Another request, or the same one of another batch, has made a training set of that name."""

    code = "TAKEN"


class SpanTooLong(Rejected):
    """The interval holds more than MAX_SPAN samples; the text says how to cut it."""

    code = "ERRSPAN"


class NoData(Rejected):
    """There is no strain of that channel, or none at that time."""

    code = "NODATA"


class Gap(Rejected):
    """Part of the strain is missing; `details` has the spans that are missing and those that are there."""

    code = "GAP"


class Ambiguous(Rejected):
    """Several streams match; `details` lists them."""

    code = "AMBIGUOUS"


class RangeNotSatisfiable(Rejected):
    """The range begins behind the end of the content."""

    code = "ERRRANGE"


class NoSuchRoute(Rejected):
    """This path is not served."""

    code = "ERRPATH"


class WrongMethod(Rejected):
    """The path exists for another method."""

    code = "ERRMETHOD"


class Unauthenticated(Rejected):
    """No credentials, or unknown ones; the text never repeats them."""

    code = "ERRAUTH"
    headers = {"WWW-Authenticate": "Bearer"}  # noqa: RUF012 - never changed


class Forbidden(Rejected):
    """The principal lacks the scope; the text names it."""

    code = "ERRSCOPE"


class NotAcceptable(Rejected):
    """The answer cannot be had in the format that was asked for; the text says what there is, or what to install."""

    code = "ERRACCEPT"


class CrossSite(Rejected):
    """A web page of another site sends the request."""

    code = "ERRORIGIN"


class ForeignHost(Rejected):
    """The request is meant for a name that this store does not have."""

    code = "ERRHOST"


class TooSlow(Rejected):
    """The request did not arrive within REQUEST_TIMEOUT."""

    code = "ERRSLOW"


class HeaderTooLarge(Rejected):
    """The request line and headers are longer than MAX_HEADER."""

    code = "ERRHEADER"


class Unavailable(DatastoreError):
    """The request cannot be served now; the same one may succeed later."""


class BufferFrozen(Unavailable):
    """The batch is frozen and takes no segment until cleanall."""

    code = "FROZEN"

    def __init__(self, message: str = "Datastore frozen.") -> None:
        super().__init__(message)


class Busy(Unavailable):
    """Nothing was done: a queue is full, or a lock was not free in time."""

    code = "BUSY"


class OutcomeUnknown(Unavailable):
    """No answer in time, or none that can be read: the request took effect once, or not at all.

    Clients treat it as `Busy`: they send the request again, under its idempotency key.
    """

    code = "BUSY"


class Recovering(Unavailable):
    """The store is replaying its journal and not ready yet."""

    code = "RECOVERING"


class ReaderBehind(Unavailable):
    """A reader of /live takes segments more slowly than they are stored, and is too far behind."""

    code = "BEHIND"


class NotFrozen(Unavailable):
    """Products need a frozen batch; this one is open, was opened again, or is archived."""

    code = "OPEN"


class PreprocUnavailable(Unavailable):
    """gwpy, which makes the products, is not installed here."""

    code = "NOPREPROC"


class JournalDamaged(Unavailable):
    """The journal is damaged before its tail; the text names the file and the byte offset."""

    code = "DAMAGED"


class SegmentDamaged(Unavailable):
    """A segment's file is not what was stored; an operator must restore it."""

    code = "ERRDATA"


class KeysFull(Unavailable):
    """The store holds MAX_KEYS idempotency keys."""

    code = "KEYSFULL"


class ClockWrong(Unavailable):
    """The clock is before 2001 or after 2286, beyond what file names can carry."""

    code = "ERRCLOCK"


class StorageFailed(Unavailable):
    """The volume refused a write; nothing of the request was kept."""

    code = "ERRIO"


class FlushFailed(StorageFailed):
    """The volume refused to archive the batch."""


class RemoteFailed(Unavailable):
    """The place that ARCHIVE_URL names does not answer, refuses, or does not hold what was put there."""

    code = "ERRREMOTE"


class SigningKeysUnavailable(Unavailable):
    """The keys of a JWT issuer are not loaded."""

    code = "ERRKEYS"


class UpstreamFailed(Unavailable):
    """The service behind this one does not answer, or its answer cannot be read."""

    code = "UPSTREAM"


def _with_code(base: type[DatastoreError]) -> Iterator[type[DatastoreError]]:
    for error in base.__subclasses__():
        if "code" in vars(error):
            yield error
        yield from _with_code(error)


_BY_CODE: dict[str, type[DatastoreError]] = {}
for _error in _with_code(DatastoreError):
    _BY_CODE.setdefault(_error.code, _error)  # a code that several share stands for the first of them


def error_from_code(code: str, message: str) -> DatastoreError | None:
    """The error with this code; None if there is no such code."""
    found = _BY_CODE.get(code)
    return found(message) if found else None


def retryable_error_from_code(code: str, message: str) -> Unavailable:
    """The error that another process reported by its code, as one that the caller may retry.

    A `Rejected` becomes `Busy`: our own processes agree on their requests, so the peer is another release and did
    nothing. An unknown code becomes `OutcomeUnknown`: it comes from a proxy or a crash.
    """
    error = error_from_code(code, message)
    if isinstance(error, Unavailable):
        return error
    return OutcomeUnknown(message) if error is None else Busy(message)
