"""The layout of the volume: data files, published views and archives, all reached through fsspec."""

from __future__ import annotations

import contextlib
import heapq
import os
import re
from collections.abc import Iterator

import msgspec

from shared import tally
from shared.config import Config
from shared.errors import Recovering, StorageFailed
from shared.failpoints import failpoint
from shared.posix import PosixFileSystem, open_inside, storage_errors
from shared.state import State
from shared.tally import Tally

_SPOOL_ID = re.compile(r"[0-9a-f]{16}")


class Volume:
    """The files of one store. Safe to use from several threads; only the writer calls what changes `data/`."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self.fs = PosixFileSystem()
        self.data = config.data_root
        self._spool_root = config.spool_root  # computed there each time, and wanted for each segment

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
        with open(open_inside(self.data, name), "rb") as file:
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
        tally.write(self.config.tally_path, Tally(state.batch, state.n_itm, state.buff_size))

    def stage_views(self, state: State) -> None:
        """Write what the views will say beside them, where `publish_views` finds it.

        Raises:
            StorageFailed: no space, or the volume is read-only; the views are as they were.
        """
        with storage_errors("staging the views"):
            self.fs.pipe_file(f"{self.config.stat_path}.next", msgspec.json.encode(state.stat))
            self.fs.pipe_file(f"{self.config.dstat_path}.next", msgspec.json.encode(state.dstat))

    def publish_views(self) -> None:
        """Replace StatDesc.json and Dsstat.json by what is staged; unsynced: they are written anew at the start."""
        with storage_errors("publishing the views"):
            self.fs.mv(f"{self.config.stat_path}.next", self.config.stat_path)
            failpoint("views.half")
            self.fs.mv(f"{self.config.dstat_path}.next", self.config.dstat_path)

    def views_present(self) -> bool:
        """Whether tally and views exist."""
        paths = self.config.tally_path, self.config.stat_path, self.config.dstat_path
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
