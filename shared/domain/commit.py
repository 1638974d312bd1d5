"""Requests to the writer and their results, as JSON where they cross HTTP."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import msgspec
from msgspec import field

from shared.domain.request_key import ANONYMOUS, Origin, RequestKey
from shared.domain.runs import Runs
from shared.domain.state import FROZEN


class CommitRequest(msgspec.Struct, omit_defaults=True, gc=False, frozen=True):
    """A segment or block put forward for the batch: the position of its durable payload, and what its record will hold.

    Attributes as in `records.Record`; the names in JSON are the record's too.
    """

    spool: str
    offset: int = field(name="at")
    size: int
    crc32: int = field(name="sum")
    key: RequestKey | None = None
    detector: str = ""
    channel: str = ""
    t0: float | None = None
    dt: float | None = None
    samples: int = field(name="n", default=0)
    by: str = ""
    format: str = ""
    holds: tuple[Runs, ...] = ()


class CommitResult(msgspec.Struct, omit_defaults=True, gc=False, frozen=True):
    """The decision about a commit request: stored as `name` with `size` bytes, or refused with an error's `code`.

    With the code ERRKEY, `name` and `size` are those of the segment that the same key named before.

    `is_new` is true where the request's own staged payload became that file. Otherwise the payload is still staged,
    and ingest removes it.
    """

    name: str = ""
    size: int = 0
    is_new: bool = field(name="fresh", default=False)
    code: str = ""


class Committed(msgspec.Struct, omit_defaults=True, gc=False, frozen=True):
    """The decision about a freeze or cleanall; the first one where the request was repeated.

    Attributes:
        segments, bytes: counts of the batch that is open now.
        status: its state now.
        batch: number of the batch that was decided about.
        archive: name of its archive, for cleanall.
        repeated: whether it was decided by an earlier request.
    """

    segments: int = field(name="n_itm")
    bytes: int = field(name="buff_size")
    status: str = field(name="state", default="")
    batch: int = 0
    archive: str = ""
    repeated: bool = False


class WriterAPI(Protocol):
    """A writer, in this process or across HTTP. Every call may raise any `errors.Unavailable`."""

    def commit(self, requests: Sequence[CommitRequest]) -> list[CommitResult]:
        """Decide about a group of segments; on return the new ones are durable, counted and visible."""

    def set_status(
        self, user: str, token: str, status: str = FROZEN, origin: Origin = ANONYMOUS, batch: int | None = None
    ) -> Committed:
        """Freeze the batch, or set its state explicitly; a repetition of the same origin changes nothing.

        Raises:
            BatchChanged: another batch is open than `batch`.
        """

    def archive_batch(self, origin: Origin = ANONYMOUS, batch: int | None = None) -> Committed:
        """Archive the batch and open the next one; a repetition of the same origin changes nothing.

        Raises:
            BatchChanged: another batch is open than `batch`.
        """
