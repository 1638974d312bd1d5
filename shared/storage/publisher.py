"""Making decisions visible: files under their names in `data/`, tally and views; and putting any of them back."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable

from shared.domain.records import Record
from shared.domain.state import State
from shared.errors import StorageFailed
from shared.failpoints import failpoint
from shared.ingest.spool_writer import read_payload
from shared.volume.layout import Volume

log = logging.getLogger(__name__)


class Publisher:
    """Publishes what the journal says. What the volume does not take now is kept and tried again.

    A segment in the journal is stored, whatever happens here: its payload is durable in the spool, which is not
    trimmed before the file is in place.
    """

    def __init__(self, volume: Volume) -> None:
        self._volume = volume
        self._pending: list[Record] = []
        self.views_due = True  # of the two views: nothing is known yet of what they say
        self.missing_segments = 0  # acknowledged segments found neither as a file nor in a spool

    @property
    def done(self) -> bool:
        """Whether every stored segment is visible."""
        return not self._pending

    def publish_files(self, records: Iterable[Record]) -> None:
        """Rename each segment's staged payload to its final name."""
        for position, record in enumerate(records):
            try:
                self._volume.publish(record.spool, record.offset, record.name)
            except FileNotFoundError:
                self.restore([record])
            except OSError as error:
                log.error("%s: not visible yet: %s", record.name, error)
                self._pending.append(record)
            if position == 0:
                failpoint("publish.some")

    def retry(self) -> None:
        """Try again what could not be made visible earlier."""
        if self._pending:
            records, self._pending = self._pending, []
            self.publish_files(records)

    def restore(self, records: Iterable[Record], *, deep: bool = False) -> None:
        """Make sure that each segment's file is in place, from its spool; `deep` compares the file's content."""
        spools: dict[str, str] | None = None  # listed once, and only if something is to be restored
        for record in records:
            path = os.path.join(self._volume.data, record.name)
            if _has_size(path, record.size) and (
                not deep or read_payload(path, 0, record.size, record.crc32) is not None
            ):
                continue
            spools = self._volume.spools() if spools is None else spools
            payload = (
                read_payload(spools[record.spool], record.offset, record.size, record.crc32)
                if record.spool in spools
                else None
            )
            if payload is None:
                self.missing_segments += 1
                log.error("%s: stored, but neither its file nor its spool holds it any more", record.name)
                continue
            try:
                self._volume.restore(record.name, payload)
            except StorageFailed as error:
                log.error("%s: not visible yet: %s", record.name, error)
                self._pending.append(record)
            else:
                self._volume.discard(record.spool, record.offset)

    def publish_counters(self, state: State) -> None:
        """Show the counts to those who must be exact, before anything is acknowledged; the views are due."""
        self.views_due = True
        try:
            self._volume.publish_tally(state)
        except StorageFailed as error:
            log.error("%s", error)

    def stage_views(self, state: State) -> None:
        """Write the views that a decision will need, before it is made: a full disk is found out in time.

        Raises:
            StorageFailed: they cannot be written; the decision must not be made.
        """
        self._volume.stage_views(state)

    def views(self, state: State) -> None:
        """Show tally and staged views; where that fails they are due."""
        self.views_due = True
        try:
            self._volume.publish_tally(state)
            self._volume.publish_views()
            self.views_due = False
        except StorageFailed as error:
            log.error("%s", error)

    def views_if_due(self, state: State) -> None:
        """Stage and show the views if they are outdated or missing.

        Raises:
            StorageFailed: they cannot be written, and stay due.
        """
        if self.views_due or not self._volume.views_present():
            self.views_due = True
            self.stage_views(state)
            self.views(state)


def _has_size(path: str, size: int) -> bool:
    try:
        return os.path.getsize(path) == size
    except OSError:
        return False
