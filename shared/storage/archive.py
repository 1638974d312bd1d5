"""Archiving a batch: plan-execute, where the durable CLEAN record is the plan.

Each step is safe to repeat. The next process that holds the lock and finds the record at the journal's end executes
the plan from its beginning: the process that wrote the record, another one, or the same after a restart. The last
step replaces the journal by the next batch's, and removes the plan with it.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

import msgspec

from shared.domain.records import Record
from shared.domain.state import State
from shared.errors import JournalDamaged
from shared.failpoints import failpoint
from shared.storage import journal, verification
from shared.volume.data_files import DataFiles
from shared.volume.layout import Layout
from shared.volume.posix import fsync_directory, storage_errors
from shared.volume.whole_files import atomic_replace, link_or_copy


def archive_batch(layout: Layout, state: State, opening: Record) -> None:
    """Move the batch of `state` to its archive and open the next one with the record `opening`.

    Must be called with the writer's lock held, all files of the batch published and synced.

    Raises:
        StorageFailed: a step failed; call again to go on from there.
    """
    target = layout.archive(state.closing)
    with storage_errors(f"archiving the batch to {state.closing!r}"):
        if not os.path.isdir(target):
            os.rename(layout.data, target)
        failpoint("clean.moved")
        for folder in (layout.products, layout.datasets):  # nothing can be put there until the next batch is open
            if os.path.isdir(folder):
                os.rename(folder, os.path.join(target, os.path.basename(folder)))
        failpoint("clean.products")
        os.makedirs(layout.data, exist_ok=True)
        stat = state.stat
        if (missing := verification.published(layout.missing, state.batch)) is not None:
            stat["missing"] = missing.count
            link_or_copy(layout.missing, os.path.join(target, os.path.basename(layout.missing)))
        atomic_replace(os.path.join(target, layout.stat_name), msgspec.json.encode(stat))
        failpoint("clean.summary")
        link_or_copy(layout.journal, os.path.join(target, layout.journal_name))
        fsync_directory(target)
        fsync_directory(layout.root)
        failpoint("clean.archived")
        atomic_replace(layout.journal, journal.encode(opening), before_rename="clean.swap")
    failpoint("clean.opened")


def open_first_batch(layout: Layout, data: DataFiles, opening: Record) -> None:
    """Open the first batch on an empty volume; nothing is done where there is a journal.

    Must be called with the writer's lock held.

    Raises:
        StorageFailed: a folder or file could not be made.
        JournalDamaged: `data/` holds segments, so the journal was lost or is not mounted.
    """
    with contextlib.suppress(FileNotFoundError):
        if os.path.getsize(layout.journal):
            return
    if data.holds_segments():
        raise JournalDamaged(f"{layout.journal}: missing or empty, while {layout.data} holds segments")
    data.create()
    with storage_errors("opening the first batch"):
        fsync_directory(layout.root)
        atomic_replace(layout.journal, journal.encode(opening))


def free_archive_name(layout: Layout, wanted: str) -> str:
    """`wanted`, or with the first suffix that is not taken: `13 31 22`, `13 31 22-2`, `13 31 22-3` ..."""
    return next(name for name in _suffixed(wanted) if not os.path.lexists(layout.archive(name)))


def _suffixed(name: str) -> Iterator[str]:
    yield name
    number = 2
    while True:
        yield f"{name}-{number}"
        number += 1
