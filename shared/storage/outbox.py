"""The outbox: what the journal says has happened, delivered to K_SINK as CloudEvents, at least once and in order.

A cursor over the journal remembers what has been delivered. It moves after the delivery, so a crash in between
delivers again, with the same id. Only what is durable is read, so no fact is announced that could be taken back.
"""

from __future__ import annotations

import os
from collections.abc import Callable

import msgspec

from shared import events
from shared.clients import http
from shared.clients.service_token import ServiceToken
from shared.config import StoreConfig
from shared.domain.records import CLEAN, OPEN, UPDATE, WRITE, Record
from shared.domain.state import FROZEN, State
from shared.errors import Busy
from shared.failpoints import failpoint
from shared.storage import journal
from shared.volume.layout import Layout
from shared.volume.posix import PosixFileSystem, atomic_replace, storage_errors


class _Cursor(msgspec.Struct):
    batch: int
    offset: int


class Outbox:
    """Delivers facts from where it last stopped; the first one ever begins with what happens next.

    Args:
        config: the configuration; without a sink nothing is delivered.
        state: the current state.
        durable_end: up to where the open batch's journal is durable.
    """

    def __init__(self, config: StoreConfig, state: Callable[[], State], durable_end: Callable[[], int]) -> None:
        self._config = config
        self._state = state
        self._durable_end = durable_end
        self._path = os.path.join(config.adm_root, "outbox.json")
        self._fs = PosixFileSystem()
        self._credential = ServiceToken(config.sink_token, optional=True)

    def deliver(self) -> int:
        """Deliver every fact that is due; return how many.

        Raises:
            Busy: the sink does not take a fact now; it is delivered by a later call.
            JournalDamaged, StorageFailed: the journal or the cursor cannot be read or written.
        """
        if not self._config.sink:
            return 0
        delivered = 0
        cursor = self._load()
        while True:
            batch, end = self._state().batch, self._durable_end()
            current = cursor.batch == batch
            path = Layout(self._config).journal if current else self._archived(cursor.batch)
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
        except FileNotFoundError:  # filed away at this moment; found in the archive the next time
            raise Busy("The batch is being archived.") from None
        with file:
            first = journal.read_record(file, 0)
            if first is None or first.batch != cursor.batch:
                raise Busy("The batch is being archived.")
            for entry in journal.scan(file, cursor.offset):
                if end is not None and entry.end > end:
                    break
                if (fact := self._fact(entry.record, cursor.batch)) is not None:
                    self._send(*fact, id=f"{cursor.batch}-{entry.offset}")
                    failpoint("outbox.sent")
                    delivered += 1
                    cursor.offset = entry.end
                    self._save(cursor)
                cursor.offset = entry.end
        return delivered

    def _fact(self, record: Record, batch: int) -> tuple[str, dict[str, object]] | None:
        counts: dict[str, object] = {
            "batch": batch,
            "n_itm": record.index,
            "buff_size": record.size,
            "time": record.time,
        }
        if record.kind == UPDATE and record.status == FROZEN:
            return events.FROZEN, {**counts, "user": record.user, "data": self._config.data_root}
        if record.kind == CLEAN:
            return events.CLEANED, {**counts, "archive": record.archive}
        if record.kind == WRITE and self._config.segment_facts:
            about = {"name": record.name, "size": record.size, "time": record.time, "n": record.samples}
            place = {"detector": record.detector, "channel": record.channel, "t0": record.t0, "dt": record.dt}
            return events.STORED, {"batch": batch, **about, **place}
        return None

    def _send(self, type: str, data: dict[str, object], id: str) -> None:
        headers, body = events.encode(type, self._config.source, id, data)
        status, _ = http.post(self._config.sink, headers | self._credential.headers(), body, timeout=10)
        if not 200 <= status < 300:
            raise Busy(f"{self._config.sink} answers {status}")

    def _archived(self, batch: int) -> str | None:
        """The journal of an archived batch; None if the archive has been taken away."""
        for folder in self._fs.ls(self._config.volume_root, detail=False):
            path = os.path.join(folder, self._config.log_name)
            if os.path.isfile(path):
                with open(path, "rb", buffering=0) as file:
                    first = journal.read_record(file, 0)
                if first is not None and first.kind == OPEN and first.batch == batch:
                    return path
        return None

    def _load(self) -> _Cursor:
        try:
            return msgspec.json.decode(self._fs.cat_file(self._path), type=_Cursor)
        except FileNotFoundError:
            cursor = _Cursor(self._state().batch, self._durable_end())
            self._save(cursor)
            return cursor

    def _save(self, cursor: _Cursor) -> None:
        with storage_errors("moving the outbox cursor"):
            atomic_replace(self._path, msgspec.json.encode(cursor))
