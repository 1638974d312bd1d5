"""The decision about a group of segments: pure, given an index of earlier decisions."""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from typing import Protocol

from shared.domain.commit import CommitRequest, CommitResult
from shared.domain.records import WRITE, Record, file_name
from shared.domain.state import OPERATIONAL, State

_FROZEN = CommitResult(code="FROZEN")
_GIVEN_UP = CommitResult(code="BUSY")  # the spool is closed or gone: ingest does not wait for this result any more


class EarlierDecisions(Protocol):
    """What `decide` needs of `dedup.DedupIndex`."""

    @property
    def watermarks(self) -> Mapping[str, int]:
        """Spool -> offset up to which it has been decided."""

    def by_position(self, spool: str, offset: int) -> tuple[str, int] | None:
        """Name and size of the segment stored from this position."""

    def by_key(self, key: str, kind: str) -> Record | None:
        """The record of this kind decided under this idempotency key."""


def decide(
    requests: Sequence[CommitRequest],
    state: State,
    earlier: EarlierDecisions,
    open_spools: Container[str],
    *,
    group: int,
    now: str,
    clock: int,
) -> tuple[list[CommitResult], list[Record]]:
    """Decide about a group.

    A request that repeats an earlier one, by its position or its key, gets the earlier result.

    Args:
        requests: the group, in order of arrival.
        state: the state before it.
        earlier: what has been decided before.
        open_spools: the spools from which payloads may be committed.
        group: offset in the journal at which the group's records will begin.
        now: the time for the records, UTC.
        clock: nanoseconds since 1970; the first new file's number is at least that.

    Returns:
        A result for each request, and the records of the new segments.
    """
    results: list[CommitResult] = []
    records: list[Record] = []
    decided: dict[str | tuple[str, int], CommitResult] = {}  # within this group, by key and by position
    operational = state.status == OPERATIONAL
    number = max(clock, state.last + 1)
    for r in requests:
        position = (r.spool, r.offset)
        result = decided.get(position) or _earlier(r, earlier)
        if result is None and (same_key := decided.get(r.key)) is not None:
            result = CommitResult(same_key.name, same_key.size)
        if result is None and not operational:
            result = _FROZEN
        if result is None and r.spool not in open_spools:
            result = _GIVEN_UP
        if result is None:
            name = file_name(number)
            number += 1
            record = Record(
                "info", state.segments + len(records), r.size, name, now, WRITE, group, r.key,
                r.spool, r.offset, r.crc32, r.detector, r.channel, r.t0, r.dt, r.samples,
            )  # fmt: skip
            records.append(record)
            result = decided[position] = CommitResult(name, r.size, is_new=True)
            if r.key:
                decided[r.key] = result
        results.append(result)
    return results, records


def _earlier(r: CommitRequest, earlier: EarlierDecisions) -> CommitResult | None:
    """The result of an earlier decision about this request, or about another one with its key."""
    passed = r.offset < earlier.watermarks.get(r.spool, 0)
    if passed and (stored := earlier.by_position(r.spool, r.offset)):
        return CommitResult(stored[0], stored[1], is_new=True)
    if r.key and (record := earlier.by_key(r.key, WRITE)):
        return CommitResult(record.name, record.size)
    return _GIVEN_UP if passed else None
