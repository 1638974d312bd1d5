"""The decision about a group of segments: pure, given an index of earlier decisions."""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from typing import Protocol

from shared.domain.commit import CommitRequest, CommitResult
from shared.domain.records import WRITE, Record, file_name
from shared.domain.request_key import RequestKey
from shared.domain.state import OPERATIONAL, State

_FROZEN = CommitResult(code="FROZEN")
_KEYS_FULL = CommitResult(code="KEYSFULL")
_GIVEN_UP = CommitResult(code="BUSY")  # the spool is closed or gone: ingest does not wait for this result any more


class EarlierDecisions(Protocol):
    """What `decide` needs of `dedup.DedupIndex`."""

    @property
    def watermarks(self) -> Mapping[str, int]:
        """Spool -> offset up to which it has been decided."""

    def by_position(self, spool: str, offset: int) -> tuple[str, int] | None:
        """Name and size of the segment stored from this position."""

    def segment_by_key(self, by: str, key: RequestKey) -> Record | None:
        """The segment stored for this principal under this key."""


def decide(
    requests: Sequence[CommitRequest],
    state: State,
    earlier: EarlierDecisions,
    open_spools: Container[str],
    *,
    room_for_keys: int,
    group: int,
    now: str,
    clock: int,
) -> tuple[list[CommitResult], list[Record]]:
    """Decide about a group.

    A request that repeats an earlier one, by its position or its key, gets the earlier result. A key that named another
    payload before is refused: one of the two would be lost.

    Args:
        requests: the group, in order of arrival.
        state: the state before it.
        earlier: what has been decided before.
        open_spools: the spools from which payloads may be committed.
        room_for_keys: how many more keys the index may take.
        group: offset in the journal at which the group's records will begin.
        now: the time for the records, UTC.
        clock: nanoseconds since 1970; the first new file's number is at least that.

    Returns:
        A result for each request, and the records of the new segments.
    """
    results: list[CommitResult] = []
    records: list[Record] = []
    by_position: dict[tuple[str, int], CommitResult] = {}  # within this group
    by_key: dict[tuple[str, RequestKey], Record] = {}  # within this group
    operational = state.status == OPERATIONAL
    number = max(clock, state.last + 1)
    for r in requests:
        position = (r.spool, r.offset)
        result = by_position.get(position) or _earlier(r, earlier)
        if result is None and r.key and (first := by_key.get((r.by, r.key))) is not None:
            result = _repeated(r, first)
        if result is None and not operational:
            result = _FROZEN
        if result is None and r.spool not in open_spools:
            result = _GIVEN_UP
        if result is None and r.key and len(by_key) >= room_for_keys:
            result = _KEYS_FULL
        if result is None:
            name = file_name(number)
            number += 1
            record = Record(
                "info", state.segments + len(records), r.size, name, now, WRITE, group, r.key,
                r.spool, r.offset, r.crc32, r.detector, r.channel, r.t0, r.dt, r.samples, by=r.by,
                format=r.format, holds=r.holds,
            )  # fmt: skip
            records.append(record)
            result = by_position[position] = CommitResult(name, r.size, is_new=True)
            if r.key:
                by_key[r.by, r.key] = record
        results.append(result)
    return results, records


def _earlier(r: CommitRequest, earlier: EarlierDecisions) -> CommitResult | None:
    """The result of an earlier decision about this request, or about another one with its key."""
    passed = r.offset < earlier.watermarks.get(r.spool, 0)
    if passed and (stored := earlier.by_position(r.spool, r.offset)):
        return CommitResult(stored[0], stored[1], is_new=True)
    if r.key and (first := earlier.segment_by_key(r.by, r.key)) is not None:
        result = _repeated(r, first)
        # Different keys of version 0.1.0 may have the same text: only the same payload is a repetition.
        if not (result.code and isinstance(first.key, str)):
            return result
    return _GIVEN_UP if passed else None


def _repeated(r: CommitRequest, first: Record) -> CommitResult:
    same = (r.size, r.crc32) == (first.size, first.crc32)
    return CommitResult(first.name, first.size, code="" if same else "ERRKEY")
