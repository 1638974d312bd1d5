"""The state of the store, as a pure fold over the journal's records."""

from __future__ import annotations

from typing import NamedTuple

import msgspec

OPERATIONAL, FROZEN = "OPERATIONAL", "FROZEN"
NOBODY = "databuf"  # user and token of a batch nobody has frozen

OPEN, WRITE, UPDATE, CLEAN = "Open batch", "Write file", "Update state", "Clean all"


class Record(msgspec.Struct, omit_defaults=True, gc=False, frozen=True):
    """One line of the journal. The first six keys are the original log's; the rest are left out where unset.

    `message` tells the kinds apart: OPEN starts a batch's journal, WRITE stores a segment, UPDATE sets the state
    (freeze, or an explicit thaw), CLEAN decides that the batch is to be archived.
    """

    level: str
    Id: int  # how many segments the batch held before this record
    size: int  # of the stored file, bytes
    name: str  # of the stored file
    time: str  # UTC, ISO 8601
    message: str
    # every kind
    group: int = -1  # the offset at which the group written together with this record starts
    key: str = ""  # the idempotency key it came with
    # WRITE
    spool: str = ""  # where its payload was made durable: this spool,
    at: int = -1  # from this offset on
    sum: int = -1  # CRC-32 of the payload
    detector: str = ""
    channel: str = ""
    t0: float | None = None  # GPS time of the first sample, seconds
    dt: float | None = None  # sampling interval, seconds
    n: int = 0  # samples
    # OPEN
    batch: int = 0
    last: int = 0  # the number in the newest name given so far
    marks: dict[str, int] = {}  # spool -> the offset up to which it has been decided
    previous: str = ""  # the archive whose keys are still answered
    # UPDATE
    dstatus: str = ""
    user: str = ""
    token: str = ""
    # CLEAN
    archive: str = ""


class State(NamedTuple):
    """All that is decided so far. Only `apply` makes a new one."""

    batch: int = 0
    n_itm: int = 0
    buff_size: int = 0
    dstatus: str = OPERATIONAL
    user: str = NOBODY
    token: str = NOBODY
    last: int = 0
    previous: str = ""
    closing: str = ""  # the archive this batch is on its way to

    @property
    def stat(self) -> dict[str, object]:
        """What /stat and StatDesc.json say."""
        return {"n_itm": self.n_itm, "buff_size": self.buff_size}

    @property
    def dstat(self) -> dict[str, object]:
        """What /dstat and Dsstat.json say."""
        return {"dstatus": self.dstatus, "user": self.user, "token": self.token}


def name_of(number: int) -> str:
    """The file name with this number: nanoseconds since 1970, 19 digits from 2001 to 2286, so names sort by time."""
    return f"gwb{number}.json"


def number_of(name: str) -> int:
    """The inverse of `name_of`."""
    return int(name[3:-5])


def apply(state: State, record: Record) -> State:
    """The state after `record`. Pure: replaying the journal gives the same state on every machine."""
    kind = record.message
    if kind == WRITE:
        batch, n_itm, buff_size, dstatus, user, token, _, previous, closing = state
        return State(
            batch, n_itm + 1, buff_size + record.size, dstatus, user, token, number_of(record.name), previous, closing
        )
    if kind == UPDATE:
        return state._replace(dstatus=record.dstatus, user=record.user, token=record.token)
    if kind == CLEAN:
        return state._replace(closing=record.archive)
    if kind == OPEN:
        return State(batch=record.batch, last=record.last, previous=record.previous)
    raise ValueError(f"unknown record {kind!r}")
