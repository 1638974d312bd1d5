"""Reading a batch without being its writer: counts and state, names and log, from the published files."""

from __future__ import annotations

import itertools
import os
import re
import time
from collections.abc import Callable, Iterator
from typing import BinaryIO, NamedTuple, TypeVar

import msgspec

from shared.archives.batch_files import BatchFiles
from shared.archives.reading import RemoteReader
from shared.config import StoreConfig
from shared.domain import block
from shared.domain.messages import ArchiveList
from shared.domain.records import Record, file_name, file_number
from shared.domain.runs import runs_of
from shared.errors import (
    BadRequest,
    BadSegment,
    BatchChanged,
    JournalDamaged,
    NoSuchFile,
    Recovering,
    SegmentDamaged,
    StorageFailed,
)
from shared.storage import history, journal, verification
from shared.storage.archive_list import newest_archives, summary
from shared.storage.batches import OPEN_BATCH, Batches, identity
from shared.storage.history import ArchiveHistory
from shared.storage.listed_names import ListedNames
from shared.storage.verification import differs
from shared.volume import counters
from shared.volume.data_files import DataFiles
from shared.volume.layout import Layout
from shared.volume.posix import same_file
from shared.volume.spool import SpoolDirectory
from shared.volume.views import Views

T = TypeVar("T")
_ATTEMPTS, _PAUSE = 40, 0.05  # seconds: a cleanall moves the batch's files in far less
_ARCHIVES = 20  # in a page without `limit`
_NAME = re.compile(r"gwb[0-9]{1,19}\.json")
_ALL = 1 << 62


class Page(NamedTuple):
    """Segments of a batch in order of arrival: for each its line in the log, and its file name.

    They are read once, as `names`, `lines` or `entries`. `opened` identifies the batch's journal: the CRC-32 of its
    first line. Whoever reads no segment calls `close`.
    """

    batch: int
    stored: Iterator[tuple[bytes, str]]
    opened: int
    close: Callable[[], None]

    @property
    def names(self) -> Iterator[str]:
        """The file names."""
        return (name for _, name in self.stored)

    @property
    def lines(self) -> Iterator[bytes]:
        """The log's lines, JSON objects without a newline."""
        return (line for line, _ in self.stored)

    @property
    def entries(self) -> Iterator[Record]:
        """The records."""
        return (journal.record_of(line) for line, _ in self.stored)


class BatchReader:
    """Read-only access to a store's volume. Safe to use from several threads, and from any number of pods.

    Args:
        config: the configuration.
        count: returns how many segments are durable; by default the counters are read. Lists never show more, so
            no reader sees a segment that a crash could still take back.

    Attributes:
        batches: the batches on the volume.
        remote: reads segments of archives that lie elsewhere.
    """

    def __init__(self, config: StoreConfig, count: Callable[[], int] | None = None) -> None:
        self.config = config
        self._layout = layout = Layout(config)
        self._data = DataFiles(layout, SpoolDirectory(layout))
        self._views = Views(layout)
        self._count = count
        self.batches = Batches(self._layout)
        self.remote = RemoteReader(config)
        self._history = ArchiveHistory(layout)
        self._listed = ListedNames()

    def check(self) -> None:
        """Raise Recovering or StorageFailed unless the store has published its state."""
        self.stat()
        self.dstat()

    def stat(self) -> dict[str, object]:
        """`{"n_itm", "buff_size"}`: segments in the batch and their size in bytes; `missing` if files are gone."""
        counted = counters.read(self._layout.counters)
        missing = verification.published(self._layout.missing, counted.batch)
        return {**counted.stat, "missing": missing.count} if missing else counted.stat

    def dstat(self) -> dict[str, object]:
        """`{"dstatus", "user", "token"}`: OPERATIONAL or FROZEN, and the operator on record."""
        return self._views.dstat()

    def names(self, after: str = "", limit: int | None = None, batch: int | None = None) -> Iterator[str]:
        """File names of the batch, in order of arrival; see `log` for the arguments and errors."""
        return self.page(after, limit, batch).names

    def all_names(self, batch: int | None = None) -> tuple[int, Iterator[bytes]]:
        """The number of the batch, and all its file names as the content of a JSON list, in pieces; errors as `log`."""
        file, first, count = self._open(batch)
        return first.batch, _closing(file, self._listed.encoded(file, identity(first), count))

    def log(self, after: str = "", limit: int | None = None, batch: int | None = None) -> Iterator[bytes]:
        """The batch's log, one JSON object (without a newline) for each stored segment, in order of arrival.

        Args:
            after: begin behind this file name.
            limit: end after so many.
            batch: number of the batch that must be open, so that pages of two batches are never mixed.

        Raises:
            BatchChanged: another batch is open.
            BadRequest: `after` is not a name as /dumpF lists them.
            Recovering: the store has not started yet.
            JournalDamaged: while iterating, at a line that does not check.
        """
        return self.page(after, limit, batch).lines

    def following(self, after: str, limit: int | None, batch: int, archive: str = "") -> str | None:
        """The `after` of the page behind that of `page`; None if there is none yet, or the batch is not open any more.

        Entries are numbered, so the last one of the page is found by binary search.
        """
        if limit is None:
            return None
        try:
            file, _, count = self._open_archived(archive) if archive else self._open(batch)
        except (BatchChanged, NoSuchFile):
            return None
        with file:
            index = limit - 1
            if after:
                (line, _) = next(journal.stored_lines(file, count=count, after=after, limit=1), (b"", ""))
                if not line:
                    return None
                index += journal.record_of(line).index
            return journal.name_at(file, index) if index + 1 < count else None

    def segment(self, name: str, batch: str = "") -> bytes:
        """A stored segment, as it was received.

        Args:
            name: of the file.
            batch: as `batches.select` takes it; by default the open batch.

        Raises:
            BadRequest: `name` is not a name as /dumpF lists them.
            NoSuchFile: the batch holds no such segment, or there is no such batch.
            StorageFailed, RemoteFailed: it cannot be read.
            SegmentDamaged: it is not what was stored.
        """
        return self.typed_segment(name, batch)[0]

    def typed_segment(self, name: str, batch: str = "") -> tuple[bytes, str]:
        """A stored segment and its media type; arguments and errors as `segment`."""
        content, record = self._stored(name, batch)
        return content, block.media_type(content, record.format if record is not None else "")

    def channel(
        self, name: str, channel: str, t0: float | None = None, batch: str = "", detector: str | None = None
    ) -> bytes:
        """A channel of a stored block, or of a segment, as the JSON of a segment.

        Args:
            name: of the file.
            channel: its name.
            t0: GPS time of the first sample of one of its runs; by default the first run.
            batch: as `segment`.
            detector: of the run; only a block of text may hold several with a channel of that name.

        Raises:
            NoSuchFile: there is no such run in it.
            DatastoreError: as `segment`.
        """
        content, record = self._stored(name, batch)
        runs = runs_of(record) if record is not None else ()
        held = [run for run in runs if run.channel == channel and detector in (None, run.detector)]
        if not held:
            of = f" of {detector}" if detector else ""
            raise NoSuchFile(f"{name} does not hold {channel}{of}; GET /dumpLogF lists what it holds")
        run = next((run for run in held if t0 in (None, run.t0)), None)
        if run is None:
            begins = ", ".join(repr(run.t0) for run in held[:20])
            raise NoSuchFile(f"{name}: no run of {channel} begins at t0={t0!r}, but at {begins}")
        try:
            h = block.values(content, run.detector, channel, run.t0)
        except BadSegment as error:
            raise SegmentDamaged(f"{name}: {error}; restore it from a backup") from error
        answer = {"h": list(h), "t": [run.t0, run.dt], "detector": run.detector, "channel": channel}
        return msgspec.json.encode(answer)

    def _stored(self, name: str, batch: str) -> tuple[bytes, Record | None]:
        _check_name(name, "name")
        found = self._find(name, OPEN_BATCH) if batch in ("", OPEN_BATCH) else self._find_moving(name, batch)
        if found is None:
            raise NoSuchFile(f"{name} is not in the batch; `batch=all` looks into archives too")
        return found

    def _find_moving(self, name: str, batch: str) -> tuple[bytes, Record | None] | None:
        """As `_find`, also while a cleanall moves the file into an archive."""
        for _ in range(_ATTEMPTS):
            before = self.batches.current()
            found = self._find(name, batch)
            if found is not None and found[1] is not None:
                return found
            if not history.is_closing(self._layout) and self.batches.current() == before:
                return found
            time.sleep(_PAUSE)
        raise Recovering("The batch is being archived; send the request again.")

    def _find(self, name: str, batch: str) -> tuple[bytes, Record | None] | None:
        chosen = self.batches.select(batch)
        for archive in (*([""] if chosen.open else []), *(archived.name for archived in chosen.archived)):
            if archive and self._is_of_another(name, archive):
                continue
            try:
                content = self._read(name, archive)
            except FileNotFoundError:
                continue
            except OSError as error:
                raise StorageFailed(f"{name}: {error.strerror}") from error
            record = self._record(name, archive)
            if record is not None and (reason := differs(content, record.size, record.crc32)):
                raise SegmentDamaged(f"{name}: {reason}; restore it from a backup, `make verify` lists all such files")
            return content, record
        return None

    def _read(self, name: str, archive: str) -> bytes:
        if not archive:
            return self._data.read(name)
        return BatchFiles(self._layout.archive(archive), self.remote).read(name)

    def _is_of_another(self, name: str, archive: str) -> bool:
        """Whether neither the folder nor the journal has a file, so that no other place need be asked."""
        there = os.path.lexists(os.path.join(self._layout.archive(archive), name))
        return not there and self._record(name, archive) is None

    def _record(self, name: str, archive: str) -> Record | None:
        before = file_name(max(file_number(name) - 1, 0))
        page = self.archived_page(archive, before, 1) if archive else self.page(before, 1)
        return next((record for record in page.entries if record.name == name), None)

    def archives(self, after: str = "", limit: int | None = None) -> ArchiveList:
        """A page of the archives, newest first, and the open batch.

        Args:
            after: begin behind this archive.
            limit: how many, 20 by default.

        Raises:
            BadRequest: `after` is no archive.
            StorageFailed: the volume cannot be listed.
        """
        found = newest_archives(self._layout)
        names = [name for name, _ in found]
        if after and after not in names:
            raise BadRequest(f"`after` must be the name of an archive: there is no {after!r}")
        first = names.index(after) + 1 if after else 0
        page = found[first : first + (limit or _ARCHIVES)]
        rest = len(found) > first + len(page)
        archives = [summary(self._layout.archive(name), name, path) for name, path in page]
        return ArchiveList(
            self._history.describe(archives), page[-1][0] if page and rest else "", history.open_batch(self._layout)
        )

    def page(self, after: str = "", limit: int | None = None, batch: int | None = None, archive: str = "") -> Page:
        """The segments of the open batch, or of an archive, in order of arrival; see `log` for the rest.

        Raises:
            NoSuchFile: there is no such archive.
            BatchChanged: the archive is of another batch than `batch`, or another one is open.
        """
        if after:
            _check_name(after, "after")
        if archive:
            if archive not in [one.name for one in self.batches.select(archive).archived]:
                raise NoSuchFile(_no_archive(archive))
            page = self.archived_page(archive, after, limit)
            if batch not in (None, page.batch):
                page.close()
                raise BatchChanged(f"{archive} is batch {page.batch}, not {batch}; leave `batch` out")
            return page
        file, first, count = self._open(batch)
        stored = journal.stored_lines(file, count=count, after=after, limit=limit)
        return Page(first.batch, _closing(file, stored), identity(first), file.close)

    def progress(self) -> tuple[int, int]:
        """A batch and a count that change when a segment is acknowledged: one file is read. Errors as `log`."""
        counted = counters.read(self._layout.counters)
        return counted.batch, self._count() if self._count else counted.segments

    def newest(self) -> int:
        """The number in the newest file name that is acknowledged, in the open batch or before it; errors as `log`."""
        file, first, count = self._open()
        with file:
            segment = journal.last_segment(file, count)
        return first.last if segment is None else file_number(segment.name)

    def _open(self, batch: int | None = None) -> tuple[BinaryIO, Record, int]:
        """The open batch's journal, its first record, and how many of its segments are acknowledged."""
        path = self._layout.journal
        for _ in itertools.repeat(None, 100):
            try:
                file = open(path, "rb")
            except FileNotFoundError:
                raise Recovering("The store has no journal yet.") from None
            except OSError as error:
                raise StorageFailed(f"{self.config.log_name}: {error.strerror}") from error
            first = journal.read_record(file, 0)
            if first is None:
                file.close()
                raise JournalDamaged(f"{file.name}: damaged at byte 0")
            if batch not in (None, first.batch):
                file.close()
                raise BatchChanged(f"batch {batch} is not open, batch {first.batch} is; begin again without `after`")
            count = self._count() if self._count else self._acknowledged(first.batch)
            if same_file(file.fileno(), path):  # else a cleanall came between: the count is not this journal's
                return file, first, count
            file.close()
        raise Recovering("The batch is being changed.")

    def archived_page(self, archive: str, after: str = "", limit: int | None = None) -> Page:
        """The segments of an archive, as `page`. Only names that `batches` lists reach the file system.

        Raises:
            NoSuchFile: there is no such archive any more.
            JournalDamaged: its journal does not check.
        """
        file, first, count = self._open_archived(archive)
        stored = journal.stored_lines(file, count=count, after=after, limit=limit)
        return Page(first.batch, _closing(file, stored), identity(first), file.close)

    def _open_archived(self, archive: str) -> tuple[BinaryIO, Record, int]:
        """As `_open`, of an archive."""
        try:
            file = open(self._layout.archived_journal(archive), "rb")
        except OSError:
            raise NoSuchFile(_no_archive(archive)) from None
        first = journal.read_record(file, 0)
        if first is None:
            file.close()
            raise JournalDamaged(f"{file.name}: damaged at byte 0")
        return file, first, _ALL

    def _acknowledged(self, batch: int) -> int:
        counted = counters.read(self._layout.counters)
        # Counters of the batch before: the journal has just begun, and the next acknowledgement updates the counters.
        return counted.segments if counted.batch == batch else 0


def _no_archive(name: str) -> str:
    return f"there is no archive {name!r}; GET /archives lists them"


def _check_name(name: str, parameter: str) -> None:
    if not _NAME.fullmatch(name):
        raise BadRequest(f"`{parameter}` must be a file name as /dumpF lists them")


def _closing(file: BinaryIO, stored: Iterator[T]) -> Iterator[T]:
    with file:
        yield from stored
