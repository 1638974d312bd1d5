"""The views: counts and state as small JSON files, for people and scripts.

Each is replaced by one rename, so it is always whole. Readers that need exact counts use `counters` instead.
"""

from __future__ import annotations

import os

import msgspec

from shared.decoding import json_decoder
from shared.domain.state import State
from shared.errors import Recovering, StorageFailed
from shared.failpoints import failpoint
from shared.rights import explained
from shared.volume.layout import Layout
from shared.volume.posix import PosixFileSystem, storage_errors


class Views:
    """StatDesc.json and Dsstat.json of a store. Safe to use from several threads; only the writer changes them."""

    def __init__(self, layout: Layout) -> None:
        self._fs = PosixFileSystem()
        self._layout = layout

    def stage(self, state: State) -> None:
        """Write the next views beside those in place.

        Raises:
            StorageFailed: no space, or the volume is read-only; the views are as they were.
        """
        with storage_errors("staging the views"):
            self._fs.pipe_file(f"{self._layout.stat_view}.next", msgspec.json.encode(state.stat))
            self._fs.pipe_file(f"{self._layout.dstat_view}.next", msgspec.json.encode(state.dstat))

    def publish(self) -> None:
        """Replace the views by the staged ones; unsynced, because every start writes them anew.

        Raises:
            StorageFailed: the volume refuses.
        """
        with storage_errors("publishing the views"):
            self._fs.mv(f"{self._layout.stat_view}.next", self._layout.stat_view)
            failpoint("views.half")
            self._fs.mv(f"{self._layout.dstat_view}.next", self._layout.dstat_view)

    def present(self) -> bool:
        """Whether both views exist."""
        return all(map(os.path.exists, (self._layout.stat_view, self._layout.dstat_view)))

    def dstat(self) -> dict[str, object]:
        """The published state: `{"dstatus", "user", "token"}`. Errors as `read_view`."""
        return read_view(self._layout.dstat_view)


def read_view(path: str) -> dict[str, object]:
    """A published view, here or in an archive.

    Raises:
        Recovering: there is none yet, or it is being restored.
        StorageFailed: it cannot be read.
    """
    try:
        view: dict[str, object] = json_decoder(dict[str, object]).decode(PosixFileSystem().cat_file(path))
    except (FileNotFoundError, msgspec.DecodeError):
        raise Recovering(explained("The store has not published its state yet.", path)) from None
    except OSError as error:
        raise StorageFailed(explained(f"{os.path.basename(path)}: {error.strerror}", path)) from error
    return view
