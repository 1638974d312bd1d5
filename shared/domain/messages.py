"""Values that cross HTTP: bodies of requests and answers, the same in every function.

Fields have the names of the code; `field(name=...)` keeps the keys of the original.
"""

from __future__ import annotations

import msgspec
from msgspec import field

from shared.domain.commit import CommitResult, Committed
from shared.domain.state import FROZEN, NOBODY

CLEANED: dict[str, object] = {"code": "STAT_UPD", "body": "Buffer cleaned"}
"""The original's answer to a cleanall."""

UPDATED: dict[str, object] = {"code": "STAT_UPD", "body": "Table updated"}
"""The original's answer to a freeze."""


def cleaned_answer(done: Committed) -> dict[str, object]:
    """The answer to a cleanall: the original's; if repeated, also its batch and archive, and the state now."""
    return {**CLEANED, "batch": done.batch, "archive": done.archive, "state": done.status} if done.repeated else CLEANED


def updated_answer(done: Committed) -> dict[str, object]:
    """The answer to a freeze: the original's; if repeated, also its batch, and the state of the open one now."""
    return {**UPDATED, "batch": done.batch, "state": done.status} if done.repeated else UPDATED


def stored_answer(stored: CommitResult) -> dict[str, object]:
    """The answer to a stored segment."""
    return {"code": "RES_CREATE", "body": f"Written {stored.name} for {stored.size} bytes"}


def as_json_text(answer: dict[str, object]) -> str:
    """An answer as the text that Datastore Logic passes on."""
    return msgspec.json.encode(answer).decode()


class ErrorBody(msgspec.Struct):
    """The body of an error response."""

    code: str
    body: str = ""


# -- requests -------------------------------------------------------------------------------------------------


class StatusUpdate(msgspec.Struct):
    """Body of /upddsc and data of the event `freeze`: the operator, and the status to set."""

    user: str = NOBODY
    token: str = NOBODY
    status: str = field(name="dstatus", default=FROZEN)


class TrainRequest(msgspec.Struct):
    """Body of /train: the operator, and the token to record."""

    user: str
    token: str


class CleanRequest(msgspec.Struct):
    """Body of /cleanbuf; the message is not used."""

    msg: str


# -- answers --------------------------------------------------------------------------------------------------


class Counts(msgspec.Struct):
    """Answer of /stat: segments in the batch, and their size in bytes."""

    segments: int = field(name="n_itm")
    bytes: int = field(name="buff_size")


class Description(msgspec.Struct):
    """Answer of /dstat: OPERATIONAL or FROZEN, and the operator on record."""

    status: str = field(name="dstatus")
    user: str
    token: str


class Change(msgspec.Struct, omit_defaults=True):
    """A change of a batch's state.

    Attributes:
        time: UTC, ISO 8601.
        what: "opened", "frozen", "thawed" or "cleaned".
        batch: its number.
        user: the operator on record, for a freeze or a thaw.
        by: name of the authenticated client.
        archive: name of the archive, for "cleaned".
    """

    time: str
    what: str
    batch: int
    user: str = ""
    by: str = ""
    archive: str = ""


class OpenBatch(msgspec.Struct, omit_defaults=True):
    """The open batch in the answer of /archives.

    Attributes:
        batch: its number.
        opened: when, UTC, ISO 8601.
        frozen: the freeze that closed it; a second freeze does not take its place.
        changes: freezes and thaws since its newest segment, oldest first.
    """

    batch: int
    opened: str
    frozen: Change | None = None
    changes: list[Change] = []


class ArchiveSummary(msgspec.Struct, omit_defaults=True):
    """An entry of /archives: the archive's folder, the batch's final counts, and what its journal says.

    Attributes:
        error: why the counts cannot be read.
        missing: segments whose files were gone.
        batch: its number.
        opened, time: when it was opened and archived, UTC, ISO 8601.
        frozen: the freeze that closed it.
        span: GPS time of the first sample and behind the last one.
        channels: names of its channels, or of detectors; up to 256.
        verdict, made, products: verdict, time and number of files of preproc.
        changes: what was decided about it, oldest first.
        arrived: Unix second, segments and bytes of the last minute's arrivals, for a minute or two.
        reading: bytes of its journal that are read, of all; span and channels follow later.
        copied: when its copy at ARCHIVE_URL was verified, UTC, ISO 8601.
        elsewhere: its segments lie at ARCHIVE_URL only.
    """

    name: str
    segments: int | None = field(name="n_itm", default=None)
    bytes: int | None = field(name="buff_size", default=None)
    error: str = ""
    missing: int = 0
    batch: int = 0
    opened: str = ""
    time: str = ""
    frozen: Change | None = None
    span: tuple[float, float] | None = None
    channels: list[str] = []
    verdict: str = ""
    made: str = ""
    products: int = 0
    changes: list[Change] = []
    arrived: list[tuple[int, int, int]] = []
    reading: tuple[int, int] | None = None
    copied: str = ""
    elsewhere: bool = False


class ArchiveList(msgspec.Struct, omit_defaults=True):
    """Answer of /archives, newest first.

    Attributes:
        archives: a page of them.
        next: the value of `after` for the next page; empty where there is none.
        open: the open batch; None where the Data Buffer is the original's.
    """

    archives: list[ArchiveSummary]
    next: str = ""
    open: OpenBatch | None = None


class NameList(msgspec.Struct):
    """Answer of /dumpF: file names in order of arrival. The original's empty list is null."""

    names: list[str] | None = field(name="nmlist", default=None)


class LoudestPixel(msgspec.Struct):
    """The loudest pixel of a spectrogram: GPS seconds, Hz, normalised energy."""

    gps: float
    frequency: float
    energy: float


class Product(msgspec.Struct, omit_defaults=True):
    """An entry of /products: a file that preproc made, and its URL; of a spectrogram also what it shows.

    `span` is in GPS seconds, [begin, end). `thumbnail` is the URL of a small picture.
    """

    name: str
    url: str
    detector: str = ""
    channel: str = ""
    span: tuple[float, float] | None = None
    loudest: LoudestPixel | None = None
    thumbnail: str = ""


class PreprocState(msgspec.Struct):
    """How far the products of the open batch have come.

    Attributes:
        state: "waiting", "running", a verdict ("done", "failed", "too short", "no signal", "empty"), "off" or
            "not installed".
        since: UTC, ISO 8601; empty where nothing has begun.
        done: pieces of strain that are dealt with.
        of: pieces of strain in the batch; 0 while that is not known.
        reason: for a state other than "running"; for "done" how many pieces have no spectrogram, such as
            "2 failed, 1 too short", or empty.
    """

    state: str
    since: str = ""
    done: int = 0
    of: int = 0
    reason: str = ""


class ProductList(msgspec.Struct):
    """Answer of /products: the batch that the products are of, the verdict on it, and the state of the open batch's."""

    products: list[Product] = []
    batch: int | None = None
    verdict: str = "none"
    preproc: PreprocState | None = None
