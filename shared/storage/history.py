"""The history of batches, from their journals: who froze and archived them, their channels, when segments arrived."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections import deque
from collections.abc import Iterator
from datetime import datetime

import msgspec
from msgspec import field

from shared.config.store import PRODUCTS
from shared.decoding import json_decoder
from shared.domain.messages import ArchiveSummary, Change, OpenBatch
from shared.domain.records import CLEAN, OPEN, UPDATE, WRITE, Record, file_number
from shared.domain.runs import Runs, runs_of
from shared.domain.state import FROZEN
from shared.storage import journal
from shared.trace_context import TraceContext, parse
from shared.volume.layout import Layout
from shared.volume.posix import open_beneath, open_plain

MINUTE = 60  # seconds of arrivals that are kept of an archive
_BUDGET = 16 << 20  # bytes of journals that one list of archives reads
_TAIL, _MAX_TAIL = 1 << 14, 1 << 20  # bytes at a journal's end that are searched for a freeze
_MAX_KNOWN = 4096  # archives
_MAX_CHANNELS = 256  # names that are kept of an archive


class _Line(msgspec.Struct, gc=False):
    """A journal line, as far as it is used here; attributes as in `domain.records.Record`. Its CRC is not checked."""

    kind: str = field(name="message")
    time: str = ""
    name: str = ""
    size: int = 0
    detector: str = ""
    channel: str = ""
    t0: float | None = None
    dt: float | None = None
    samples: int = field(name="n", default=0)
    holds: tuple[Runs, ...] = ()
    batch: int = 0
    status: str = field(name="dstatus", default="")
    user: str = ""
    by: str = ""
    archive: str = ""


class _Verdict(msgspec.Struct):
    """A manifest of products, as far as it is used here."""

    verdict: str
    time: str = ""
    files: list[msgspec.Raw] = []


_line = json_decoder(_Line)


def change(record: Record | _Line, batch: int) -> Change | None:
    """The change of state that a record stands for; None for a stored segment."""
    if record.kind == WRITE:
        return None
    what = {OPEN: "opened", CLEAN: "cleaned"}.get(record.kind) or ("frozen" if record.status == FROZEN else "thawed")
    return Change(record.time, what, batch, record.user if record.kind == UPDATE else "", record.by, record.archive)


def first_freeze(changes: list[Change]) -> Change | None:
    """The freeze that closed the batch: the first one since it was last open. `changes` are in order."""
    found = None
    for one in changes:
        if one.what != "cleaned":
            found = None if one.what != "frozen" else found or one
    return found


def open_batch(layout: Layout) -> OpenBatch | None:
    """The open batch: its number, when it was opened, and what has been decided since its newest segment.

    While a batch is frozen no segment enters it. So the freeze is at the journal's end.
    """
    try:
        with open(layout.journal, "rb") as file:
            first = journal.read_record(file, 0)
            if first is None:
                return None
            decided = [record for record in _tail(file.fileno()) if record.kind == UPDATE]
    except OSError:
        return None
    changes = [made for record in decided if (made := change(record, first.batch)) is not None]
    return OpenBatch(first.batch, first.time, first_freeze(changes), changes)


def is_closing(layout: Layout) -> bool:
    """Whether the open batch is being archived."""
    with contextlib.suppress(OSError), open(layout.journal, "rb") as file:
        return any(record.kind == CLEAN for record in _tail(file.fileno()))
    return False


def freeze_trace(layout: Layout) -> TraceContext | None:
    """The trace of the request that froze the open batch, if it had one."""
    found: Record | None = None
    with contextlib.suppress(OSError), open(layout.journal, "rb") as file:
        for record in _tail(file.fileno()):
            if record.kind == UPDATE:
                found = None if record.status != FROZEN else found or record
    return parse(found.traceparent, found.tracestate) if found is not None else None


def _tail(fd: int) -> list[Record]:
    """The records behind the newest stored segment, oldest first."""
    end, size = os.fstat(fd).st_size, _TAIL
    while True:
        start = max(end - size, 0)
        lines = os.pread(fd, end - start, start).split(b"\n")
        records: list[Record] = []
        for line in reversed(lines[1:] if start else lines):
            record = journal.decode(line)
            if record is not None and record.kind == WRITE:
                return records[::-1]
            if record is not None:
                records.append(record)
        if not start or size >= _MAX_TAIL:
            return records[::-1]
        size *= 4


class ArchiveHistory:
    """Summaries of archives, each read once from its journal, which never changes. Safe to use from several threads.

    A list reads a bounded part of the journals. Where that is not all of an archive's, its summary says so, and the
    next list reads on.
    """

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._lock = threading.Lock()
        self._known: dict[tuple[str, int], _Reading] = {}  # by name and inode of the journal

    def describe(self, archives: list[ArchiveSummary]) -> list[ArchiveSummary]:
        """Fill in what the journals of these archives say, and the verdicts of preproc."""
        budget = _BUDGET
        with self._lock:
            while len(self._known) > _MAX_KNOWN:
                self._known.pop(next(iter(self._known)))
            for archive in archives:
                budget -= self._describe(archive, budget)
        return archives

    def _describe(self, archive: ArchiveSummary, budget: int) -> int:
        folder = self._layout.archive(archive.name)
        with contextlib.suppress(OSError, msgspec.DecodeError):
            with open(open_beneath(folder, f"{PRODUCTS}/manifest.json"), "rb") as manifest:
                made = json_decoder(_Verdict).decode(manifest.read())
            archive.verdict, archive.made, archive.products = made.verdict, made.time, len(made.files)
        try:
            file = open(open_plain(self._layout.archived_journal(archive.name)), "rb", buffering=0)
        except OSError:
            return 0
        with file:
            status = os.fstat(file.fileno())
            reading = self._known.setdefault((archive.name, status.st_ino), _Reading(status.st_size))
            read = reading.read_on(file, budget) if reading.offset < reading.size else 0
        reading.fill(archive)
        return read


class _Reading:
    """An archive's journal, read up to `offset`."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.offset = 0
        self._batch = 0
        self._opened = self._closed = ""
        self._changes: list[Change] = []
        self._channels: dict[str, None] = {}
        self._span: tuple[float, float] | None = None
        self._arrived: deque[list[int]] = deque()  # [second, segments, bytes], ascending

    def read_on(self, file: journal.Readable, budget: int) -> int:
        """Read about `budget` bytes more; return how many."""
        start = self.offset
        for offset, line, terminated in journal.raw_lines(file, start):
            if offset - start >= budget or not terminated:
                break
            self.offset = offset + len(line) + 1
            with contextlib.suppress(msgspec.DecodeError):  # `make verify` reports damage
                self._add(_line.decode(line))
        return self.offset - start

    def _add(self, line: _Line) -> None:
        if line.kind == WRITE:
            self._add_segment(line)
            return
        if line.kind == OPEN:
            self._batch, self._opened = line.batch, line.time
        elif line.kind == CLEAN:
            self._closed = line.time
        if (made := change(line, self._batch)) is not None:
            self._changes.append(made)

    def _add_segment(self, line: _Line) -> None:
        second = file_number(line.name) // 1_000_000_000
        if not self._arrived or self._arrived[-1][0] < second:
            self._arrived.append([second, 0, 0])
            while self._arrived[0][0] < second - MINUTE:
                self._arrived.popleft()
        self._arrived[-1][1] += 1
        self._arrived[-1][2] += line.size
        names = [name for runs in line.holds for name in runs.channels] or [line.channel or line.detector]
        for name in names:
            if name not in self._channels and len(self._channels) < _MAX_CHANNELS:
                self._channels[name] = None
        for run in runs_of(line):
            begin, end = self._span or (run.t0, run.t0)
            self._span = min(begin, run.t0), max(end, run.t0 + run.n * run.dt)

    def fill(self, archive: ArchiveSummary) -> None:
        """Fill in what has been read."""
        archive.batch, archive.opened, archive.time = self._batch, self._opened, self._closed
        archive.changes, archive.frozen = self._changes, first_freeze(self._changes)
        if self.offset < self.size:
            archive.reading = (self.offset, self.size)
            return
        archive.span, archive.channels = self._span, sorted(filter(None, self._channels))
        archive.arrived = list(self._recent())

    def _recent(self) -> Iterator[tuple[int, int, int]]:
        """Arrivals of the last minute, as long as they are that recent."""
        try:
            closed = datetime.fromisoformat(self._closed).timestamp()
        except ValueError:
            return
        if time.time() - closed <= 2 * MINUTE:
            yield from ((second, segments, size) for second, segments, size in self._arrived)
