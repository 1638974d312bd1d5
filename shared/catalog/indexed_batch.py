"""The index of one batch, made from its journal and kept up with it, and saved for the next start."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable

from shared.domain.records import file_name, file_number, runs_in
from shared.errors import DatastoreError, Recovering
from shared.storage.reader import Page
from shared.strain import index_file
from shared.strain.index import StrainIndex
from shared.strain.index_file import Head
from shared.volume.posix import PosixFileSystem
from shared.volume.whole_files import atomic_replace

log = logging.getLogger(__name__)

PAGE = 100_000  # journal entries that one request reads: about half a second
_NAMES = 50  # channels in an entry that take as long to read as an entry

Pages = Callable[[str, int | None], Page]
"""The journal's entries behind a file name, at most so many."""


class Replaced(Exception):
    """The journal is another one than the index follows."""


class IndexedBatch:
    """A batch and its index. Not thread-safe.

    Args:
        pages: reads the journal.
        path: where the index is saved; it need not be writable.

    Attributes:
        index: of the entries read so far.
        number: of the batch, 0 before the first entry.
        opened: identity of its journal.
        count: entries read.
        complete: whether all entries there were have been read.
    """

    def __init__(self, pages: Pages, path: str) -> None:
        self._pages = pages
        self._path = path
        self._reset()

    def _reset(self) -> None:
        self.index = StrainIndex()
        self.number = self.opened = self.count = self._last = self.saved = 0
        self.complete = False

    def load(self) -> None:
        """Start with the saved index, if there is one and it is this journal's."""
        try:
            index, head = index_file.decode(PosixFileSystem().cat_file(self._path))
        except FileNotFoundError:
            return
        except (OSError, ValueError) as error:
            log.warning("%s cannot be used, the journal is read instead: %s", self._path, error)
            return
        page = self._pages(file_name(max(head.last - 1, 0)), 1)
        record = next(page.entries, None)
        page.close()
        found = head.opened == page.opened and record is not None
        if found and record is not None and (file_number(record.name), record.index) == (head.last, head.count - 1):
            self.index = index
            self.number, self.opened, self.count, self._last = head.batch, head.opened, head.count, head.last
            self.saved = self.count

    def follow(self) -> None:
        """Read the entries that have been added.

        Raises:
            Replaced: another batch is open.
            Recovering: there are more entries than one request reads; the next one goes on.
            DatastoreError: the journal cannot be read.
        """
        page = self._pages(file_name(self._last) if self.count else "", PAGE)
        if self.number == 0:
            self.number, self.opened = page.batch, page.opened
        if page.opened != self.opened:
            page.close()
            raise Replaced
        read, add = 0, self.index.add_runs
        for record in page.entries:
            if record.index != self.count:
                self._reset()
                raise Recovering("The journal has changed; send the request again.")
            number = file_number(record.name)
            names = 0
            for runs in runs_in(record):
                add(number, record.crc32, runs)
                names += len(runs.channels)
            self.count += 1
            self._last = number
            read += 1 + names // _NAMES
            if read >= PAGE:
                break
        self.complete = read < PAGE
        if not self.complete:
            raise Recovering(f"The index of batch {self.number} is being made: {self.count} segments so far.")

    def continues(self, pages: Pages, path: str) -> None:
        """Read the rest of the journal from another place: the batch has been archived."""
        self._pages, self._path, self.complete, self.saved = pages, path, False, 0

    def encode(self) -> tuple[str, bytes]:
        """The path and the content of the index as a file; it counts as saved from now on."""
        self.saved = self.count
        return self._path, index_file.encode(self.index, Head(self.number, self.opened, self.count, self._last))


def save(path: str, content: bytes) -> bool:
    """Put a file in place; False where the volume does not take it: the index is a shortcut, and not needed."""
    try:
        if not os.path.isdir(os.path.dirname(path)):
            return False
        atomic_replace(path, content)
    except (OSError, DatastoreError):
        return False
    return True
