"""Layout of the volume: the path of everything that a store keeps on disk."""

from __future__ import annotations

import contextlib
import heapq
import os
import re
from collections.abc import Iterator

import msgspec

from shared.config import StoreConfig
from shared.config.store import PRODUCTS
from shared.domain.state import State
from shared.errors import Recovering, StorageFailed
from shared.failpoints import failpoint
from shared.volume import counters
from shared.volume.counters import Counters
from shared.volume.posix import PosixFileSystem, open_beneath, storage_errors


class Layout:
    """The paths of one store.

    Attributes:
        journal: the commit log of the open batch.
        lock: file whose flock is held by whoever decides about the batch, or puts something beside it.
        data: the batch's segments, one file each; its absence means something, so nobody creates it by the way.
        spool: folder of the payload log: spool files, and staged payloads not yet renamed into `data`.
        products: what preproc made of the frozen batch.
        counters: segments and bytes of the batch, for readers that must be exact.
        stat_view, dstat_view: the published counts and state, for people and scripts.
        checkpoint: the journal replayed up to an offset.
        outbox_cursor: up to where events have been delivered to the sink.
        announced: the batch whose products were announced to the sink.
        root: folder of the archives, and of all that moves with a batch.
    """

    def __init__(self, config: StoreConfig) -> None:
        self.root = config.volume_root
        self.adm, self.log = config.adm_root, config.log_root
        self.journal_name, self.stat_name = config.log_name, config.stat_name
        self.journal = os.path.join(config.log_root, config.log_name)
        self.lock = f"{self.journal}.lock"
        self.data = config.data_root
        self.spool = os.path.join(config.volume_root, ".spool")
        self.products = os.path.join(config.volume_root, PRODUCTS)
        self.products_lock = os.path.join(config.volume_root, ".products.lock")
        self.products_staging = os.path.join(config.volume_root, ".products.next")
        self.products_replaced = os.path.join(config.volume_root, ".products.old")
        self.counters = os.path.join(config.adm_root, "tally")
        self.stat_view = os.path.join(config.adm_root, config.stat_name)
        self.dstat_view = os.path.join(config.adm_root, config.dstat_name)
        self.checkpoint = os.path.join(config.adm_root, "checkpoint")
        self.outbox_cursor = os.path.join(config.adm_root, "outbox.json")
        self.announced = os.path.join(config.adm_root, "announced.json")

    def archive(self, name: str) -> str:
        """The folder of an archived batch."""
        return os.path.join(self.root, name)

    def archived_journal(self, name: str) -> str:
        """The journal in an archive."""
        return os.path.join(self.root, name, self.journal_name)


# --- to be split ---
_SPOOL_ID = re.compile(r"[0-9a-f]{16}")


class Volume:
    """The files of one store. Safe to use from several threads; only the writer calls what changes `data/`."""

    def __init__(self, config: StoreConfig) -> None:
        self.config = config
        self.fs = PosixFileSystem()
        self.data = config.data_root
        self._spool_root = Layout(config).spool  # computed there each time, and wanted for each segment

    def prepare(self) -> None:
        """Create the folders that are missing, except `data/`, whose absence means something."""
        with storage_errors("creating the store's folders"):
            for folder in (self.config.adm_root, self.config.log_root, self._spool_root):
                self.fs.makedirs(folder, exist_ok=True)

    # -- data files -------------------------------------------------------------------------------------------

    def staged(self, spool: str, at: int | str) -> str:
        """Where the payload at this place of a spool waits, whole but not synced, to be renamed into `data/`."""
        return f"{self._spool_root}/{spool}.{at}"

    def stage(self, spool: str, at: int, payload: bytes) -> None:
        """Write a payload where `publish` finds it.

        Raises:
            StorageFailed: no space, or the volume is read-only; nothing is left behind.
        """
        with storage_errors("staging a segment"):
            self.fs.pipe_file(self.staged(spool, at), payload, mode="create")

    def discard(self, spool: str, at: int) -> None:
        """Remove a staged payload that is not to be published; it may be gone."""
        with contextlib.suppress(OSError):
            self.fs.rm_file(self.staged(spool, at))

    def publish(self, spool: str, at: int, name: str) -> None:
        """Make a staged payload visible as `data/<name>`, whole, in one rename.

        Raises:
            FileNotFoundError: nothing is staged there.
        """
        self.fs.mv(self.staged(spool, at), f"{self.data}/{name}")

    def read(self, name: str) -> bytes:
        """The file `data/<name>`.

        Raises:
            OSError: it is not there, or cannot be read.
        """
        with open(open_beneath(self.data, name), "rb") as file:
            return file.read()

    def restore(self, name: str, payload: bytes) -> None:
        """Put `data/<name>` back from its spooled payload, in one step."""
        temp = self.staged("restore", 0)
        with storage_errors(f"restoring {name}"):
            self.fs.pipe_file(temp, payload)
            self.fs.mv(temp, os.path.join(self.data, name))

    # -- spools -----------------------------------------------------------------------------------------------

    def spool_path(self, spool: str, *, closed: bool = False) -> str:
        """The file of a spool: `.log` while it may grow, `.closed` once it is being trimmed.

        Raises:
            ValueError: `spool` is not a spool's id; ids come in over HTTP and must never name another path.
        """
        if not _SPOOL_ID.fullmatch(spool):
            raise ValueError(f"not a spool id: {spool!r}")
        return os.path.join(self._spool_root, spool + (".closed" if closed else ".log"))

    def spools(self) -> dict[str, str]:
        """Every spool on the volume: id -> path."""
        return {
            name.split(".")[0]: os.path.join(self._spool_root, name)
            for name in self._spool_files()
            if name.endswith((".log", ".closed"))
        }

    def remove_spool(self, spool: str) -> None:
        """Remove a closed spool and what is still staged from it."""
        for name in self._spool_files():
            if name.startswith(f"{spool}.") and not name.endswith((".log", ".closed")):
                self.fs.rm_file(os.path.join(self._spool_root, name))
        self.fs.rm_file(self.spool_path(spool, closed=True))

    def _spool_files(self) -> list[str]:
        return [os.path.basename(path) for path in self.fs.ls(self._spool_root, detail=False)]

    # -- tally and views --------------------------------------------------------------------------------------

    def publish_tally(self, state: State) -> None:
        """Show the counts to readers that must be exact. Raises StorageFailed."""
        counters.write(Layout(self.config).counters, Counters(state.batch, state.segments, state.bytes))

    def stage_views(self, state: State) -> None:
        """Write what the views will say beside them, where `publish_views` finds it.

        Raises:
            StorageFailed: no space, or the volume is read-only; the views are as they were.
        """
        with storage_errors("staging the views"):
            self.fs.pipe_file(f"{Layout(self.config).stat_view}.next", msgspec.json.encode(state.stat))
            self.fs.pipe_file(f"{Layout(self.config).dstat_view}.next", msgspec.json.encode(state.dstat))

    def publish_views(self) -> None:
        """Replace StatDesc.json and Dsstat.json by what is staged; unsynced: they are written anew at the start."""
        with storage_errors("publishing the views"):
            self.fs.mv(f"{Layout(self.config).stat_view}.next", Layout(self.config).stat_view)
            failpoint("views.half")
            self.fs.mv(f"{Layout(self.config).dstat_view}.next", Layout(self.config).dstat_view)

    def views_present(self) -> bool:
        """Whether tally and views exist."""
        paths = Layout(self.config).counters, Layout(self.config).stat_view, Layout(self.config).dstat_view
        return all(map(self.fs.exists, paths))

    def read_view(self, path: str) -> dict[str, object]:
        """A published view, as last published.

        Raises:
            Recovering: there is none yet, or it is being restored.
        """
        try:
            view: dict[str, object] = msgspec.json.decode(self.fs.cat_file(path), type=dict[str, object])
        except (FileNotFoundError, msgspec.DecodeError):
            raise Recovering("The store has not published its state yet.") from None
        except OSError as error:
            raise StorageFailed(f"{os.path.basename(path)}: {error.strerror}") from error
        return view

    # -- archives ---------------------------------------------------------------------------------------------

    def archive(self, name: str) -> str:
        """The folder of an archived batch."""
        return os.path.join(self.config.volume_root, name)

    def archives(self, limit: int) -> list[tuple[str, str]]:
        """The newest archives, newest first: name, and path of the final counts."""
        found = []
        for folder in self.fs.ls(self.config.volume_root, detail=False):
            path = os.path.join(folder, self.config.stat_name)
            if os.path.islink(folder):
                continue
            with contextlib.suppress(OSError):
                found.append((os.lstat(path).st_mtime_ns, os.path.basename(folder), path))
        return [(name, path) for _, name, path in heapq.nlargest(limit, found)]

    def free_archive_name(self, wanted: str) -> str:
        """`wanted`, or with the first suffix that is not taken: `13 31 22`, `13 31 22-2`, `13 31 22-3` ..."""
        return next(name for name in _suffixed(wanted) if not os.path.lexists(self.archive(name)))


def _suffixed(name: str) -> Iterator[str]:
    yield name
    number = 2
    while True:
        yield f"{name}-{number}"
        number += 1
