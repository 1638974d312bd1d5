"""Notices a second process that serves the same store as a whole. Both are exact, but few who start two mean it."""

from __future__ import annotations

import contextlib
import logging
import os

from shared.volume.posix import try_lock

log = logging.getLogger(__name__)


def warn_of_another(folder: str) -> None:
    """Warn if another process has called this for the folder; the lock is held until this process ends."""
    with contextlib.suppress(OSError):  # of a volume that takes no files the store itself complains
        lock = os.open(os.path.join(folder, "serving.lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        if not try_lock(lock):
            os.close(lock)
            log.warning("another store serves the data in %s too; was ROOT meant to be another folder?", folder)
