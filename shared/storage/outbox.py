"""The outbox: decisions in the journal, delivered as CloudEvents, at least once and in order.

A cursor over the journal marks what has been delivered. It moves after the delivery, so a crash in between delivers
again, with the same id. Only the durable part of the journal is read, so no announced decision can be taken back.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping

import msgspec

from shared import events
from shared.config import StoreConfig
from shared.decoding import json_decoder
from shared.domain.records import CLEAN, OPEN, UPDATE, WRITE, Record
from shared.domain.state import FROZEN
from shared.errors import Busy
from shared.failpoints import failpoint
from shared.storage import journal
from shared.storage.writer import Writer
from shared.trace_context import parse, within
from shared.volume.posix import PosixFileSystem, storage_errors
from shared.volume.whole_files import atomic_replace

Publish = Callable[[str, str, Mapping[str, object]], object]
"""Sends an event of a type, with an id and data; raises a DatastoreError where it does not arrive."""


class _Cursor(msgspec.Struct):
    batch: int
    offset: int


class Outbox:
    """Delivers events from the cursor on. Without one it starts at the journal's end as the writer found it.

    Args:
        config: the configuration; without a sink nothing is delivered.
        writer: the writer whose decisions are delivered.
        publish: sends an event.
    """

    def __init__(self, config: StoreConfig, writer: Writer, publish: Publish) -> None:
        self._config = config
        self._writer = writer
        self._layout = writer.layout
        self._publish = publish
        writer.on_open = self._begin

    def deliver(self) -> int:
        """Deliver every event that is due; return how many.

        Raises:
            Busy, UpstreamFailed: the sink does not take an event now; a later call delivers it.
            JournalDamaged, StorageFailed: the journal or the cursor cannot be read or written.
        """
        if not self._config.sink:
            return 0
        delivered = 0
        cursor = self._load()
        while True:
            batch, end = self._writer.state().batch, self._writer.durable_end
            current = cursor.batch == batch
            path = self._layout.journal if current else self._archived(cursor.batch)
            if path:
                delivered += self._deliver_from(path, cursor, end if current else None)
            if current:
                return delivered
            cursor = _Cursor(cursor.batch + 1, 0)
            self._save(cursor)

    def _deliver_from(self, path: str, cursor: _Cursor, end: int | None) -> int:
        delivered = 0
        try:
            file = open(path, "rb", buffering=0)
        except FileNotFoundError:  # archived at this moment; found in the archive the next time
            raise Busy("The batch is being archived.") from None
        with file:
            first = journal.read_record(file, 0)
            if first is None or first.batch != cursor.batch:
                raise Busy("The batch is being archived.")
            for entry in journal.scan(file, cursor.offset):
                if end is not None and entry.end > end:
                    break
                if (event := self._event(entry.record, cursor.batch)) is not None:
                    type, data = event
                    with within(parse(entry.record.traceparent, entry.record.tracestate)):
                        self._publish(type, f"{cursor.batch}-{entry.offset}", data)
                    failpoint("outbox.sent")
                    delivered += 1
                    cursor.offset = entry.end
                    self._save(cursor)
                cursor.offset = entry.end
        return delivered

    def _event(self, record: Record, batch: int) -> tuple[str, dict[str, object]] | None:
        """Type and data of the event for a record, if there is one."""
        counts: dict[str, object] = {
            "batch": batch, "n_itm": record.index, "buff_size": record.size, "time": record.time,
        }  # fmt: skip
        if record.kind == UPDATE and record.status == FROZEN:
            return events.FROZEN, {**counts, "user": record.user, "data": self._layout.data}
        if record.kind == CLEAN:
            return events.CLEANED, {**counts, "archive": record.archive}
        if record.kind == WRITE and self._config.segment_facts:
            about = {"name": record.name, "size": record.size, "time": record.time, "n": record.samples}
            place = {"detector": record.detector, "channel": record.channel, "t0": record.t0, "dt": record.dt}
            if record.holds:
                place = {"format": record.format, "holds": msgspec.to_builtins(record.holds)}
            return events.STORED, {"batch": batch, **about, **place}
        return None

    def _archived(self, batch: int) -> str | None:
        """The journal of an archived batch; None if the archive has been taken away."""
        for name in os.listdir(self._layout.root):
            path = self._layout.archived_journal(name)
            if os.path.isfile(path):
                with open(path, "rb", buffering=0) as file:
                    first = journal.read_record(file, 0)
                if first is not None and first.kind == OPEN and first.batch == batch:
                    return path
        return None

    def _begin(self) -> None:
        """Place the cursor, if there is none. Later, what has been decided meanwhile would be left out."""
        if self._config.sink and not os.path.exists(self._layout.outbox_cursor):
            self._save(_Cursor(self._writer.last_state.batch, self._writer.durable_end))

    def _load(self) -> _Cursor:
        try:
            return json_decoder(_Cursor).decode(PosixFileSystem().cat_file(self._layout.outbox_cursor))
        except FileNotFoundError:  # taken away while the store runs
            self._begin()
            return self._load()

    def _save(self, cursor: _Cursor) -> None:
        with storage_errors("moving the outbox cursor"):
            atomic_replace(self._layout.outbox_cursor, msgspec.json.encode(cursor))
