"""Journal records: one for each decision, with the keys of the original's log."""

from __future__ import annotations

import functools
import time
from collections.abc import Sequence
from enum import StrEnum

import msgspec
from msgspec import field

from shared.domain.request_key import KeyedDecision, RequestKey
from shared.domain.runs import Runs, runs_of
from shared.domain.sampling import prefix_of
from shared.domain.segment import StoredSegment


class RecordKind(StrEnum):
    """The kinds of a record, as the log's `message` spells them."""

    OPEN = "Open batch"  # begins a batch's journal
    WRITE = "Write file"  # stores a segment or a block
    UPDATE = "Update state"  # sets the state: a freeze, or an explicit thaw
    CLEAN = "Clean all"  # decides that the batch is to be archived


OPEN, WRITE, UPDATE, CLEAN = map(str, RecordKind)  # plain strings: comparing and encoding them costs less


class Record(msgspec.Struct, omit_defaults=True, gc=False, frozen=True):
    """One line of the journal. The first six keys are the original log's; the rest are left out where unset.

    The names in the file are those of the original where it had one: `Id`, `message`, `dstatus`.

    Attributes:
        index: how many segments the batch held before this record.
        size: of the stored file, in bytes; in other kinds, the batch's bytes.
        name: of the stored file.
        time: UTC, ISO 8601.
        kind: a `RecordKind`.
        group: offset in the journal at which the group that was written together with this record begins.
        key: key of the request; a string where version 0.1.0 wrote it.
        by: name of the principal that sent the request; empty where authentication is off.
        spool, offset, crc32: WRITE: the payload's position in a spool, and its CRC-32.
        detector, channel: WRITE: as the segment names them.
        t0, dt, samples: WRITE: GPS time of the first sample, sampling interval (both seconds), number of samples. Of a
            block only the number, of all channels.
        format, holds: WRITE: of a block, see `domain.block`: its format, and the runs of samples in it.
        batch: OPEN: number of the batch.
        last: OPEN: the number in the newest file name given so far.
        watermarks: OPEN: spool -> offset up to which it has been decided.
        previous: OPEN: the archive whose segments' keys are still recognised.
        decisions: OPEN: the newest freezes and cleanalls that were decided under keys.
        status, user, token: UPDATE: the new state, and the operator on record.
        archive: CLEAN: name of the archive's folder.
        traceparent, tracestate: UPDATE, CLEAN: the trace of the request, see `trace_context`.
    """

    level: str
    index: int = field(name="Id")
    size: int
    name: str
    time: str
    kind: str = field(name="message")
    group: int = -1
    key: RequestKey | str | None = None
    spool: str = ""
    offset: int = field(name="at", default=-1)
    crc32: int = field(name="sum", default=-1)
    detector: str = ""
    channel: str = ""
    t0: float | None = None
    dt: float | None = None
    samples: int = field(name="n", default=0)
    batch: int = 0
    last: int = 0
    watermarks: dict[str, int] = field(name="marks", default_factory=dict)
    previous: str = ""
    decisions: list[KeyedDecision] = []
    status: str = field(name="dstatus", default="")
    user: str = ""
    token: str = ""
    archive: str = ""
    by: str = ""
    format: str = ""
    holds: tuple[Runs, ...] = ()
    traceparent: str = ""
    tracestate: str = ""


def segments_in(record: Record) -> Sequence[StoredSegment]:
    """What a WRITE record stores, as segments of one channel: one, or the runs of a block, all in one file."""
    name, crc32 = record.name, record.crc32
    if record.holds:
        return [StoredSegment(name, *run, crc32) for run in runs_of(record)]
    detector, channel = record.detector or prefix_of(record.channel), record.channel
    return (StoredSegment(name, detector, channel, record.t0 or 0.0, record.dt or 0.0, record.samples, crc32),)


def runs_in(record: Record) -> Sequence[Runs]:
    """What a WRITE record stores, as runs: those of a block, or a segment's. Errors and times as `segments_in`."""
    if record.holds:
        return record.holds
    detector, channel = record.detector or prefix_of(record.channel), record.channel
    return (Runs(detector, record.t0 or 0.0, record.dt or 0.0, record.samples, (channel,)),)


# Names sort by time while their numbers have 19 digits: from 2001 to 2286.
MIN_FILE_NUMBER, MAX_FILE_NUMBER = 10**18, 10**19


def file_name(number: int) -> str:
    """The file name with this number: nanoseconds since 1970."""
    return f"gwb{number}.json"


def file_number(name: str) -> int:
    """The inverse of `file_name`."""
    return int(name[3:-5])


def utc_now() -> str:
    """The current time as the log writes it."""
    return _utc(int(time.time()))


@functools.lru_cache(1)  # many groups are decided in one second
def _utc(second: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(second))
