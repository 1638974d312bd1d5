"""Filing a batch away: the steps that follow a durable CLEAN record, each safe to repeat after a crash.

The record is the plan. Whoever next holds the lock and finds it at the journal's end (the process that wrote it,
another one, or the same after a restart) takes the steps from the beginning; the last one, replacing the journal
by the next batch's, removes the plan with it.
"""

from __future__ import annotations

import os

import msgspec

from shared import journal
from shared.config import PRODUCTS
from shared.errors import JournalDamaged
from shared.failpoints import failpoint
from shared.posix import link_or_copy, replace_durably, storage_errors, sync_folder
from shared.state import Record, State
from shared.volume import Volume


def archive_batch(volume: Volume, state: State, opening: Record) -> None:
    """Move the batch of `state` to its archive and open the next one with the record `opening`.

    Must be called with the writer's lock held, all files of the batch published and synced.

    Raises:
        StorageFailed: a step failed; call again to go on from there.
    """
    config = volume.config
    target = volume.archive(state.closing)
    with storage_errors(f"archiving the batch to {state.closing!r}"):
        if not os.path.isdir(target):
            volume.fs.mv(config.data_root, target)
        failpoint("clean.moved")
        if os.path.isdir(config.products_root):  # nothing can be put there until the next batch is open
            volume.fs.mv(config.products_root, os.path.join(target, PRODUCTS))
        failpoint("clean.products")
        volume.fs.makedirs(config.data_root, exist_ok=True)
        replace_durably(os.path.join(target, config.stat_name), msgspec.json.encode(state.stat))
        failpoint("clean.summary")
        link_or_copy(config.journal_path, os.path.join(target, config.log_name))
        sync_folder(target)
        sync_folder(config.volume_root)
        failpoint("clean.archived")
        replace_durably(config.journal_path, journal.encode(opening), before_rename="clean.swap")
    failpoint("clean.opened")


def create_first(volume: Volume, opening: Record) -> None:
    """Open the first batch on an empty volume.

    Raises:
        StorageFailed: a folder or file could not be made.
        JournalDamaged: see `refuse_orphans`.
    """
    refuse_orphans(volume)
    with storage_errors("opening the first batch"):
        volume.fs.makedirs(volume.data, exist_ok=True)
        sync_folder(volume.config.volume_root)
        replace_durably(volume.config.journal_path, journal.encode(opening))


def refuse_orphans(volume: Volume) -> None:
    """Refuse to begin with data files but without their journal: it was lost or not mounted, not never written."""
    if volume.fs.isdir(volume.data) and any(
        name.startswith("gwb") for name in map(os.path.basename, volume.fs.ls(volume.data, detail=False))
    ):
        raise JournalDamaged(f"{volume.config.journal_path}: missing or empty, while {volume.data} holds segments")
