"""Filing a batch away: the steps that follow a durable CLEAN record, each safe to repeat after a crash.

The record is the plan. Whoever next holds the lock and finds it at the journal's end (the process that wrote it,
another one, or the same after a restart) takes the steps from the beginning; the last one, replacing the journal
by the next batch's, removes the plan with it.
"""

from __future__ import annotations

import os

import msgspec

from shared.config.store import PRODUCTS
from shared.domain.records import Record
from shared.domain.state import State
from shared.errors import JournalDamaged
from shared.failpoints import failpoint
from shared.storage import journal
from shared.volume.layout import Layout, Volume
from shared.volume.posix import atomic_replace, fsync_directory, link_or_copy, storage_errors


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
        if os.path.isdir(Layout(config).products):  # nothing can be put there until the next batch is open
            volume.fs.mv(Layout(config).products, os.path.join(target, PRODUCTS))
        failpoint("clean.products")
        volume.fs.makedirs(config.data_root, exist_ok=True)
        atomic_replace(os.path.join(target, config.stat_name), msgspec.json.encode(state.stat))
        failpoint("clean.summary")
        link_or_copy(Layout(config).journal, os.path.join(target, config.log_name))
        fsync_directory(target)
        fsync_directory(config.volume_root)
        failpoint("clean.archived")
        atomic_replace(Layout(config).journal, journal.encode(opening), before_rename="clean.swap")
    failpoint("clean.opened")


def open_first_batch(volume: Volume, opening: Record) -> None:
    """Open the first batch on an empty volume.

    Raises:
        StorageFailed: a folder or file could not be made.
        JournalDamaged: see `refuse_orphans`.
    """
    refuse_orphans(volume)
    with storage_errors("opening the first batch"):
        volume.fs.makedirs(volume.data, exist_ok=True)
        fsync_directory(volume.config.volume_root)
        atomic_replace(Layout(volume.config).journal, journal.encode(opening))


def refuse_orphans(volume: Volume) -> None:
    """Refuse to begin with data files but without their journal: it was lost or not mounted, not never written."""
    if volume.fs.isdir(volume.data) and any(
        name.startswith("gwb") for name in map(os.path.basename, volume.fs.ls(volume.data, detail=False))
    ):
        raise JournalDamaged(f"{Layout(volume.config).journal}: missing or empty, while {volume.data} holds segments")
