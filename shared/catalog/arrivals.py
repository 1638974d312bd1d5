"""Segments in the order in which they were stored, over all batches, from any position on."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from typing import NamedTuple

import msgspec

from shared.domain.records import Record, file_name, file_number, segments_in
from shared.errors import BadRequest
from shared.storage.batches import Archived
from shared.storage.reader import BatchReader, Page

_POSITION = re.compile(r"(gwb[0-9]{1,19}\.json)(?::([0-9]{1,6}))?")
_WHOLE = 1 << 30  # larger than any part


class Position(NamedTuple):
    """A place between arrivals. File names grow with time, over all batches, so a place needs no batch.

    Attributes:
        number: of the file before it.
        part: how many segments of that file lie before it, where a file holds several.
    """

    number: int
    part: int = _WHOLE

    def __str__(self) -> str:
        """The file name, as clients see it; with the part where the file goes on behind it."""
        name = file_name(self.number)
        return name if self.part == _WHOLE else f"{name}:{self.part}"

    @classmethod
    def parse(cls, text: str) -> Position:
        """The inverse of `str`.

        Raises:
            BadRequest: it is no position.
        """
        found = _POSITION.fullmatch(text)
        if found is None:
            raise BadRequest(f"`after` is {text[:40]!r}: must be a file name as /live sends it, or as /dumpF lists it")
        return cls(file_number(found[1]), int(found[2]) if found[2] else _WHOLE)


class Row(msgspec.Struct, omit_defaults=True, gc=False, frozen=True):
    """What readers see of a stored segment: times in GPS seconds, `n` samples.

    `after` is the position behind it, where that is not the name.
    """

    name: str
    batch: int
    detector: str
    channel: str
    t0: float
    dt: float
    n: int
    after: str = ""


class Arrival(NamedTuple):
    """A stored segment: the position behind it, what readers see, and how its file is found and checked.

    `opened` is the identity of its batch's journal, `crc32` that of its file, -1 where it is not known.
    """

    position: Position
    row: Row
    opened: int
    crc32: int


def arrivals_in(record: Record, batch: int, opened: int) -> list[Arrival]:
    """What a record of the journal stores. The one place that knows how many segments a file holds.

    Of a file with several, all positions but the last one name a part.
    """
    stored = segments_in(record)
    found = []
    for count, (name, detector, channel, t0, dt, n, crc32) in enumerate(stored, 1):
        last = count == len(stored)
        position = Position(file_number(name), _WHOLE if last else count)
        row = Row(name, batch, detector, channel, t0, dt, n, "" if last else str(position))
        found.append(Arrival(position, row, opened, crc32))
    return found


class Arrivals:
    """Reads on from a position: through the archives, then the open batch. Not thread-safe.

    One file is open at a time, and a read keeps no more than its answer and a chunk of the journal in memory.

    Args:
        reader: of the store.
        position: where to begin.

    Attributes:
        position: behind what has been read.
    """

    def __init__(self, reader: BatchReader, position: Position) -> None:
        self._reader = reader
        self.position = position
        self._opened = 0  # the batch to which all before have been read
        self._following: Iterator[Arrival] | None = None

    def read(self, limit: int) -> list[Arrival]:
        """The next arrivals, up to `limit`; none where all that are acknowledged now have been read.

        Raises:
            DatastoreError: a journal cannot be read now; the next call begins where the last one ended.
        """
        begun_before = self._following is not None
        if self._following is None:
            self._following = self._next()
        try:
            found = list(itertools.islice(self._following, limit))
        except BaseException:
            self._following, self._opened = None, 0
            raise
        if found:
            self.position = found[-1].position
        if len(found) < limit:
            self._following = None
        # What was begun before ends where the open batch ended then.
        return found if found or not begun_before else self.read(limit)

    def _next(self) -> Iterator[Arrival]:
        number, part = self.position
        before = file_name(number if part == _WHOLE else max(number - 1, 0))
        # The open batch first: one that is archived meanwhile is then in both lists, and not in neither.
        page = self._reader.page(before)
        try:
            for archived in self._archives_before(page) if page.opened != self._opened else ():
                yield from self._behind(self._reader.archived_page(archived.name, before), self.position)
            self._opened = page.opened
            yield from self._behind(page, self.position)
        finally:
            page.close()

    def _archives_before(self, page: Page) -> list[Archived]:
        """The archives that hold arrivals behind the position and before the open batch."""
        archived = [one for one in self._reader.batches.archived() if one.batch < page.batch]
        later = [one.last for one in archived[1:]]
        return [one for one, last in itertools.zip_longest(archived, later) if last is None or self._is_before(last)]

    def _is_before(self, last: int) -> bool:
        return not last or self.position.number <= last

    def _behind(self, page: Page, position: Position) -> Iterator[Arrival]:
        for record in page.entries:
            for arrival in arrivals_in(record, page.batch, page.opened):
                if arrival.position > position:
                    yield arrival
