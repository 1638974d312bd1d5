"""The batches on a volume, the open one and the archives, chosen by number or by name."""

from __future__ import annotations

import os
import threading
from typing import NamedTuple

from shared.checksum import crc32_of
from shared.domain.records import Record
from shared.errors import NoSuchFile
from shared.storage import journal
from shared.volume.layout import Layout
from shared.volume.posix import open_plain, storage_errors

OPEN_BATCH, ALL_BATCHES = "open", "all"


class Archived(NamedTuple):
    """An archived batch: the name of its folder, its number, and the identity of its journal.

    `last` is the number in the newest file name given before it began; 0 where its journal does not say so.
    """

    name: str
    batch: int
    opened: int
    last: int = 0


class Chosen(NamedTuple):
    """Batches in the order of their numbers: archives, and whether the open one comes after them."""

    archived: list[Archived]
    open: bool


def identity(first: Record) -> int:
    """What identifies a batch's journal, by its first record; numbers repeat where a volume was begun anew."""
    return crc32_of(journal.encode(first))


class Batches:
    """The batches on a volume. Safe to use from several threads."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._lock = threading.Lock()
        self._known: dict[tuple[str, int, int], Archived] = {}  # by name, inode and time of the journal

    def archived(self) -> list[Archived]:
        """The archives, in the order of their batches.

        Raises:
            StorageFailed: the volume cannot be listed.
        """
        found: dict[tuple[str, int, int], Archived] = {}
        with self._lock:
            with storage_errors("listing the archives"):
                names = os.listdir(self._layout.root)
            for name in names:
                path = self._layout.archived_journal(name)
                try:
                    status = os.lstat(path)
                except OSError:
                    continue
                key = (name, status.st_ino, status.st_mtime_ns)
                archived = self._known.get(key) or self._read(name, path)
                if archived is not None:
                    found[key] = archived
            self._known = found
        return sorted(found.values(), key=lambda archived: (archived.batch, archived.name))

    def _read(self, name: str, path: str) -> Archived | None:
        if os.path.islink(self._layout.archive(name)):
            return None
        try:
            with open(open_plain(path), "rb") as file:
                first = journal.read_record(file, 0)
        except OSError:
            return None
        return None if first is None else Archived(name, first.batch, identity(first), first.last)

    def select(self, batch: str) -> Chosen:
        """The batches that a parameter `batch` names: `open`, `all`, a number, or the name of an archive.

        Raises:
            NoSuchFile: there is no such batch.
            StorageFailed: the volume cannot be read.
        """
        if batch == OPEN_BATCH:
            return Chosen([], True)
        current = self.current()
        # While a batch is being archived its journal is in both places, and the batch still counts as the open one.
        archived = [one for one in self.archived() if one.opened != current[1]]
        if batch == ALL_BATCHES:
            return Chosen(archived, True)
        if batch == str(current[0]):
            return Chosen([], True)
        found = [one for one in archived if batch in (one.name, str(one.batch))]
        if not found:
            raise NoSuchFile(
                f"there is no batch {batch!r}: `batch` is open, all, a number, or a name as GET /archives lists them"
            )
        return Chosen(found, False)

    def current(self) -> tuple[int, int]:
        """Number and identity of the open batch's journal; -1 where there is none that can be read."""
        try:
            with open(self._layout.journal, "rb") as file:
                first = journal.read_record(file, 0)
        except OSError:
            first = None
        return (-1, -1) if first is None else (first.batch, identity(first))
