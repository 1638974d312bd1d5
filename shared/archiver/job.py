"""The archiver's job, `python -m shared.archiver.job copy|free|verify|restore [archive]`: one step of its work."""

from __future__ import annotations

import logging
import os
import sys
import time

from shared import config
from shared.archiver import freeing, restoring
from shared.archiver.held import COPY_LOCK, FREE_LOCK, find, keep_reserve, lock, remove_leftovers
from shared.archiver.indexing import make_coverage
from shared.archiver.requests import RESTORE, VERIFY, Progress, Requests
from shared.archiver.upload import Uploader
from shared.archives.place import Place
from shared.config import Keep, StoreConfig
from shared.errors import BadRequest
from shared.job_process import begin, report
from shared.storage.batches import Batches
from shared.volume.layout import Layout

log = logging.getLogger(__name__)

COPY, FREE = "copy", "free"


def do(settings: StoreConfig, what: str, name: str = "") -> None:
    """Do one step.

    Args:
        settings: of the store.
        what: `copy`, `verify` or `restore` an archive, or `free` the volume of what is due.
        name: of the archive.

    Raises:
        Busy: another archiver of this volume does the same.
        NoSuchFile: there is no such archive.
        RemoteFailed: the place refuses, or does not hold what was put there.
        JournalDamaged, StorageFailed: the volume cannot be read or written.
    """
    layout = Layout(settings)
    batches, requests = Batches(layout), Requests(layout)
    keep_reserve(layout)

    def tell(step: str, done: int, of: int) -> None:
        requests.report(Progress(name, step, done, of))

    with lock(layout, FREE_LOCK if what == FREE else COPY_LOCK):
        place = Place(settings)
        if what != FREE:
            remove_leftovers(layout)
        if what == FREE:
            freeing.free_what_is_due(layout, batches, place, Keep.parse(settings.archive_keep))
            return
        if what == COPY:
            make_coverage(settings, layout, name)
        archive = find(layout, batches, name)
        try:
            if what == COPY:
                Uploader(settings, layout, place, tell).make_safe(archive)
            elif what == VERIFY:
                freeing.verify(layout, place, archive, tell)
            elif what == RESTORE:
                with lock(layout, FREE_LOCK):
                    restoring.restore(layout, place, archive, tell)
            else:
                raise BadRequest(f"{what!r}: must be copy, free, verify or restore")
        finally:
            requests.report(None)


def main() -> int:
    """Do the job once; the exit code is 0 when it is done."""
    os.nice(10)  # ingest comes first
    begin("archiver")
    began = time.monotonic()
    try:
        do(config.store_from_env(), *sys.argv[1:3])
    except Exception as error:
        return report(error)
    log.info("%s done after %.1f s", " ".join(sys.argv[1:3]), time.monotonic() - began)
    return 0


if __name__ == "__main__":
    sys.exit(main())
