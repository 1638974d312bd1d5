"""Progress of the preproc job: a small file beside the folder in which the products are made."""

from __future__ import annotations

import contextlib

import msgspec

from shared.decoding import json_decoder
from shared.volume.layout import Layout
from shared.volume.posix import PosixFileSystem, is_locked


class Progress(msgspec.Struct):
    """Progress of the job.

    Attributes:
        batch, n_itm: the batch that the products are of.
        since: when the job began, UTC, ISO 8601.
        done: pieces of strain that are dealt with.
        of: pieces of strain in the batch; 0 while that is not known.
    """

    batch: int
    n_itm: int
    since: str
    done: int = 0
    of: int = 0


def write(layout: Layout, progress: Progress) -> None:
    """Replace the file in one step. It is not synced, because after a power loss no job runs."""
    fs = PosixFileSystem()
    with contextlib.suppress(OSError):  # a full disk is reported where products are written
        fs.pipe_file(f"{layout.products_progress}.next", msgspec.json.encode(progress))
        fs.mv(f"{layout.products_progress}.next", layout.products_progress)


def running(layout: Layout) -> bool:
    """Whether a job runs, in any process: it holds the lock of preproc, which ends with it."""
    return is_locked(layout.products_lock)


def read(layout: Layout) -> Progress | None:
    """The progress of the job that runs; None where none does, or it has only begun."""
    try:
        found = json_decoder(Progress).decode(PosixFileSystem().cat_file(layout.products_progress))
    except (OSError, msgspec.DecodeError):
        return None
    return found if running(layout) else None
