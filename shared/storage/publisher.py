"""Publishing decisions: files under their names in `data/`, counters and views; and restoring any of them."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Iterable

from shared.domain.records import Record, file_number
from shared.domain.state import State
from shared.errors import StorageFailed
from shared.failpoints import failpoint
from shared.volume import counters
from shared.volume.counters import Counters
from shared.volume.data_files import DataFiles
from shared.volume.layout import Layout
from shared.volume.spool import SpoolDirectory, read_payload
from shared.volume.views import Views

log = logging.getLogger(__name__)


class Publisher:
    """Publishes what the journal holds. What the volume refuses now is kept and tried again.

    A segment in the journal is stored, whatever happens here: its payload is durable in the spool, which is not
    trimmed before the file is in place.

    Attributes:
        missing: names of acknowledged segments found neither as a file nor in a spool.
    """

    def __init__(self, layout: Layout, spool: SpoolDirectory) -> None:
        self._counters = layout.counters
        self._spool = spool
        self._views = Views(layout)
        self.data = DataFiles(layout, spool)
        self._pending: list[Record] = []
        self._pending_since: float | None = None
        self._views_due = True  # at the start nothing is known of what the views say
        self.missing: set[str] = set()

    @property
    def done(self) -> bool:
        """Whether every stored segment is visible."""
        return not self._pending

    @property
    def views_due(self) -> bool:
        """Whether decisions have been made since the views were published."""
        return self._views_due

    def invalidate_views(self) -> None:
        """Note that the views are outdated."""
        self._views_due = True

    def publish_files(self, records: Iterable[Record]) -> None:
        """Rename each segment's staged payload to its final name."""
        for position, record in enumerate(records):
            try:
                self.data.publish(record.spool, record.offset, record.name)
            except FileNotFoundError:
                self.restore([record])
            except OSError as error:
                self._defer(record, error)
            if position == 0:
                failpoint("publish.some")

    def _defer(self, record: Record, error: Exception) -> None:
        if self._pending_since is None:  # logged once, however many files follow
            self._pending_since = time.monotonic()
            log.error("%s: stored, not visible yet, and so are later files until the volume takes them: %s",
                      record.name, error)  # fmt: skip
        self._pending.append(record)

    def retry(self) -> None:
        """Publish the files that the volume refused earlier."""
        if self._pending:
            records, self._pending = self._pending, []
            self.publish_files(records)
            if not self._pending:
                self._pending_since = None
                log.info("%d stored segments are visible now", len(records))

    @property
    def pending(self) -> int:
        """How many stored segments are not visible yet."""
        return len(self._pending)

    @property
    def pending_seconds(self) -> float:
        """For how long the volume has refused files; 0 if it refuses none."""
        since = self._pending_since  # once, because the thread that stores may change it
        return time.monotonic() - since if since is not None else 0.0

    def restore(self, records: Iterable[Record], *, deep: bool = False) -> None:
        """Restore each segment's file from its spool if it is not in place; `deep` compares the file's content."""
        spools: dict[str, str] | None = None  # listed once, and only if something is to be restored
        for record in records:
            path = self.data.path(record.name)
            if _has_size(path, record.size) and (
                not deep or read_payload(path, 0, record.size, record.crc32) is not None
            ):
                continue
            spools = self._spool.files() if spools is None else spools
            payload = (
                read_payload(spools[record.spool], record.offset, record.size, record.crc32)
                if record.spool in spools
                else None
            )
            if payload is None and self._publish_staged(record):  # a long payload, which is not in the spool file
                continue
            if payload is None:
                self.missing.add(record.name)
                log.error("%s: stored, but neither its file nor its spool holds it any more", record.name)
                continue
            try:
                self.data.restore(record.name, payload)
            except StorageFailed as error:
                self._defer(record, error)
            else:
                self._spool.discard(record.spool, record.offset)

    def _publish_staged(self, record: Record) -> bool:
        """Rename a staged payload that is whole; false where there is none."""
        staged = self._spool.staged(record.spool, record.offset)
        if read_payload(staged, 0, record.size, record.crc32) is None:
            return False
        try:
            self.data.publish(record.spool, record.offset, record.name)
        except OSError as error:
            self._defer(record, error)
        return True

    def restore_missing(self, records: Iterable[Record]) -> None:
        """Restore the files that are gone or have another size, given all records; `missing` names the others."""
        sizes = dict(self.data.sizes())
        self.missing.clear()
        self.restore(record for record in records if sizes.get(file_number(record.name)) != record.size)

    def publish_counters(self, state: State) -> None:
        """Publish the counts, before anything is acknowledged; the views are due from now on."""
        self._views_due = True
        try:
            counters.write(self._counters, Counters(state.batch, state.segments, state.bytes))
        except StorageFailed as error:
            log.error("%s", error)

    def stage_views(self, state: State) -> None:
        """Write the views that a decision will need, before it is made, so that a full disk is found in time.

        Raises:
            StorageFailed: they cannot be written; the decision must not be made.
        """
        self._views.stage(state)

    def publish_staged_views(self, state: State) -> None:
        """Publish counters and staged views; what the volume refuses stays due."""
        self.publish_counters(state)
        try:
            self._views.publish()
            self._views_due = False
        except StorageFailed as error:
            log.error("%s", error)

    def publish_views_if_due(self, state: State) -> None:
        """Stage and publish the views if they are outdated or missing.

        Raises:
            StorageFailed: they cannot be written, and stay due.
        """
        if self._views_due or not (self._views.present() and os.path.exists(self._counters)):
            self._views_due = True
            self.stage_views(state)
            self.publish_staged_views(state)


def _has_size(path: str, size: int) -> bool:
    try:
        return os.path.getsize(path) == size
    except OSError:
        return False
