"""The state of the store: a pure fold over the journal's records."""

from __future__ import annotations

from typing import NamedTuple

from shared.domain.records import CLEAN, OPEN, UPDATE, WRITE, Record, file_number

OPERATIONAL, FROZEN = "OPERATIONAL", "FROZEN"
NOBODY = "databuf"  # user and token of a batch that nobody has frozen


class State(NamedTuple):
    """All that is decided so far. Only `apply` makes a new one."""

    batch: int = 0
    segments: int = 0
    bytes: int = 0
    status: str = OPERATIONAL
    user: str = NOBODY
    token: str = NOBODY
    last: int = 0
    previous: str = ""
    closing: str = ""  # the archive this batch is on its way to

    @property
    def stat(self) -> dict[str, object]:
        """What /stat and StatDesc.json say."""
        return {"n_itm": self.segments, "buff_size": self.bytes}

    @property
    def dstat(self) -> dict[str, object]:
        """What /dstat and Dsstat.json say."""
        return {"dstatus": self.status, "user": self.user, "token": self.token}


def apply(state: State, record: Record) -> State:
    """The state after `record`. Pure: replaying the journal gives the same state on every machine.

    Raises:
        ValueError: the record is of no known kind.
    """
    kind = record.kind
    if kind == WRITE:
        batch, segments, size, status, user, token, _, previous, closing = state
        number = file_number(record.name)
        return State(batch, segments + 1, size + record.size, status, user, token, number, previous, closing)
    if kind == UPDATE:
        return state._replace(status=record.status, user=record.user, token=record.token)
    if kind == CLEAN:
        return state._replace(closing=record.archive)
    if kind == OPEN:
        return State(batch=record.batch, last=record.last, previous=record.previous)
    raise ValueError(f"unknown record {kind!r}")
