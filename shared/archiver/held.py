"""The archives on a volume, as the archiver sees them: what is safe elsewhere, what waits, what is here."""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import time
from collections.abc import Callable, Iterator
from typing import NamedTuple

from shared.archiver import packing
from shared.archiver.packing import Beside
from shared.archives import manifest
from shared.archives.manifest import Stub, prefix_of, read_stub
from shared.errors import DatastoreError, NoSuchFile, StorageFailed
from shared.storage.batches import Archived, Batches
from shared.volume.layout import Layout
from shared.volume.posix import locked, storage_errors
from shared.volume.views import read_view

log = logging.getLogger(__name__)

COVERAGE = "coverage.json"
COPY_LOCK, FREE_LOCK = "copy.lock", "free.lock"
_STUB_LOCK = "stub.lock"
_STAGING = "staging-"
_RESERVE = 256 << 10  # bytes


class Held(NamedTuple):
    """An archive on the volume.

    Attributes:
        folder: its path.
        closed: when its counts were written, ns since 1970.
        stub: what `remote.json` says; None where it is not safe elsewhere.
        beside: what lies beside its segments.
    """

    archived: Archived
    folder: str
    closed: int
    stub: Stub | None
    beside: Beside

    @property
    def name(self) -> str:
        """The folder's name."""
        return self.archived.name

    @property
    def prefix(self) -> str:
        """Its prefix below ARCHIVE_URL."""
        return prefix_of(self.archived.batch, self.archived.opened)

    @property
    def safe(self) -> bool:
        """Whether all of it is safe elsewhere."""
        return self.stub is not None and not self.stub.lost and self.stub.beside == self.beside.identity

    @property
    def here(self) -> bool:
        """Whether any of its segments may be on the volume."""
        return self.stub is None or not self.stub.freed

    @property
    def age(self) -> float:
        """Seconds since it was archived, or brought back."""
        return time.time() - max(self.closed / 1e9, self.stub.restored if self.stub else 0.0)

    def bytes(self, layout: Layout) -> int:
        """The bytes of its segments, by its counts; 0 where they cannot be read."""
        try:
            return int(str(read_view(os.path.join(self.folder, layout.stat_name))["buff_size"]))
        except (DatastoreError, KeyError, ValueError):
            return 0


def held(layout: Layout, batches: Batches) -> Iterator[Held]:
    """The archives on the volume, oldest first. One that is being made is not among them.

    Raises:
        StorageFailed: the volume cannot be read.
    """
    current = batches.current()[1]
    for archived in batches.archived():
        if archived.opened == current:
            continue
        try:
            yield of(layout, archived)
        except FileNotFoundError:  # deleted by hand, at this moment
            continue
        except (OSError, ValueError) as error:
            log.error("the archive %r cannot be looked at: %s", archived.name, error)


def of(layout: Layout, archived: Archived) -> Held:
    """One archive.

    Raises:
        OSError, ValueError: it cannot be read.
    """
    folder = layout.archive(archived.name)
    closed = os.lstat(os.path.join(folder, layout.stat_name)).st_mtime_ns
    single = (COVERAGE, os.path.basename(layout.missing))
    return Held(archived, folder, closed, read_stub(folder), packing.beside(folder, single))


def find(layout: Layout, batches: Batches, name: str) -> Held:
    """The archive of this name.

    Raises:
        NoSuchFile: there is none.
        StorageFailed: it cannot be read.
    """
    for one in held(layout, batches):
        if one.name == name:
            return one
    raise NoSuchFile(f"there is no archive {name!r}; GET /archives lists them")


def work_file(layout: Layout, name: str) -> str:
    """The path of a file of the archiver.

    Raises:
        StorageFailed: its folder cannot be made.
    """
    with storage_errors("making the archiver's folder"):
        os.makedirs(layout.archive_work, exist_ok=True)
    return os.path.join(layout.archive_work, name)


def keep_reserve(layout: Layout) -> None:
    """Keep a few bytes of the volume back, so that `remote.json` can be written when it is full."""
    path = work_file(layout, "reserve")
    if space(layout)[0] > 16 * _RESERVE:
        with contextlib.suppress(OSError), open(path, "ab") as file:
            os.posix_fallocate(file.fileno(), 0, _RESERVE)


def change_stub(layout: Layout, folder: str, change: Callable[[Stub | None], Stub]) -> Stub:
    """Replace `remote.json` by what `change` makes of it as it is now; return that. None is given where there is none.

    Archives are copied and freed at once, by processes of their own: nobody changes it in between.

    Raises:
        StorageFailed: the volume refuses; the old one stands.
        Busy: others have been changing it all the time.
        DatastoreError: as `change` raises.
    """
    with lock(layout, _STUB_LOCK, timeout=10.0):
        with storage_errors("reading remote.json"):
            stub = change(read_stub(folder))
        _write_stub(layout, folder, stub)
    return stub


def _write_stub(layout: Layout, folder: str, stub: Stub) -> None:
    """Replace `remote.json`; on a full volume with the bytes that are kept back."""
    try:
        manifest.write_stub(folder, stub)
    except OSError:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(work_file(layout, "reserve"))
        with storage_errors("writing remote.json"):
            manifest.write_stub(folder, stub)


@contextlib.contextmanager
def lock(layout: Layout, name: str, timeout: float = 1.0) -> Iterator[None]:
    """Hold a lock of the archivers of a volume, within which no other one does the same.

    It is waited for `timeout` seconds.

    Raises:
        Busy: another archiver holds it.
        StorageFailed: it cannot be opened.
    """
    path = work_file(layout, name)
    with contextlib.ExitStack() as stack:
        with storage_errors("opening the archiver's lock"):
            stack.enter_context(locked(path, timeout))
        yield


def staging_folder(layout: Layout, name: str) -> str:
    """An empty folder for what is on its way to the volume.

    Raises:
        StorageFailed: it cannot be made.
    """
    path = work_file(layout, f"{_STAGING}{name}")
    with storage_errors("making a folder of the archiver"):
        shutil.rmtree(path, ignore_errors=True)
        os.makedirs(path)
    return path


def remove_leftovers(layout: Layout) -> None:
    """Remove what interrupted work has left. Must be called with the lock of the work held."""
    with contextlib.suppress(OSError):
        for name in os.listdir(layout.archive_work):
            if name.startswith(_STAGING):
                shutil.rmtree(os.path.join(layout.archive_work, name), ignore_errors=True)


def require_free(layout: Layout, size: int) -> None:
    """Check that the volume has room.

    Raises:
        StorageFailed: it has not.
    """
    free, total = space(layout)
    if free - size < low_water(total):
        raise StorageFailed(
            f"{layout.root} has {free} bytes left and {size} are needed; make room or enlarge the volume."
        )


def space(layout: Layout) -> tuple[int, int]:
    """Bytes of the volume that are free, and all of them.

    Raises:
        StorageFailed: it does not say.
    """
    with storage_errors(layout.root):
        found = os.statvfs(layout.root)
    return found.f_bavail * found.f_frsize, found.f_blocks * found.f_frsize


def low_water(total: int) -> int:
    """Bytes that a volume of this size has left when it counts as nearly full."""
    return total // 20
