"""The state of the store: a pure fold over the journal's records."""

from __future__ import annotations

from typing import NamedTuple

from shared.domain.records import CLEAN, OPEN, UPDATE, WRITE, Record, file_number

OPERATIONAL, FROZEN = "OPERATIONAL", "FROZEN"
NOBODY = "databuf"  # user and token of a batch that nobody has frozen
_MASK = (1 << 64) - 1


class Inventory(NamedTuple):
    """A set of files: how many, their bytes, and a sum of hashes of their numbers and sizes, modulo 2^64.

    Two sets with the same inventory have the same names and sizes. The sum does not depend on the order, so a
    folder can be compared with the journal in one pass over either.
    """

    files: int = 0
    bytes: int = 0
    fingerprint: int = 0


def fingerprint(number: int, size: int) -> int:
    """The hash of one file in an inventory; Python's own hash of integers is the same in every process."""
    return hash((number, size)) & _MASK


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
    fingerprint: int = 0  # of the batch's files, as in `Inventory`

    @property
    def inventory(self) -> Inventory:
        """The files that the batch must have."""
        return Inventory(self.segments, self.bytes, self.fingerprint)

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
        batch, segments, size, status, user, token, _, previous, closing, files = state
        number = file_number(record.name)
        files = (files + fingerprint(number, record.size)) & _MASK
        return State(batch, segments + 1, size + record.size, status, user, token, number, previous, closing, files)
    if kind == UPDATE:
        return state._replace(status=record.status, user=record.user, token=record.token)
    if kind == CLEAN:
        return state._replace(closing=record.archive)
    if kind == OPEN:
        return State(batch=record.batch, last=record.last, previous=record.previous)
    raise ValueError(f"unknown record {kind!r}")
