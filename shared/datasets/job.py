"""The job for one training set, `python -m shared.datasets.job <name>`: makes what the order of that name wants."""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import sys
import time
import warnings

from shared import config
from shared.catalog.catalog import Catalog
from shared.config import StoreConfig
from shared.datasets import making, sets
from shared.datasets.making import Source
from shared.datasets.orders import Order, Orders, Progress
from shared.datasets.request import check_name
from shared.datasets.selection import one_batch
from shared.datasets.sets import DatasetStore
from shared.errors import NoSuchFile, NoSuchRoute
from shared.failpoints import failpoint
from shared.job_process import begin, report
from shared.storage import frozen_batch
from shared.storage.batches import OPEN_BATCH
from shared.storage.frozen_batch import FrozenBatch
from shared.storage.reader import BatchReader
from shared.volume.layout import Layout
from shared.volume.posix import PosixFileSystem, file_lock, fsync_directory, storage_errors, sync_filesystem
from shared.volume.views import read_view

log = logging.getLogger(__name__)


def make(settings: StoreConfig, max_samples: int, name: str) -> None:
    """Make a set and put it in place; nothing is done if it is there already.

    Raises:
        NoSuchRoute: there is no such order.
        NotFrozen: the batch was opened again.
        NoSuchFile: the batch is not on the volume any more.
        Busy: another process makes a set.
        Rejected: the request does not suit the batch.
        Unavailable: the batch cannot be read or the set not be written.
    """
    check_name(name)
    layout = Layout(settings)
    with storage_errors("opening the lock of training sets"):
        os.makedirs(layout.dataset_work, exist_ok=True)
        fd = os.open(os.path.join(layout.dataset_work, "lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC)
    try:
        with file_lock(fd, timeout=5.0):
            _Job(settings, layout, max_samples).do(name)
    finally:
        os.close(fd)


class _Job:
    def __init__(self, settings: StoreConfig, layout: Layout, max_samples: int) -> None:
        self._layout = layout
        self._max_samples = max_samples
        self._reader = BatchReader(settings)
        self._orders = Orders(layout)

    def do(self, name: str) -> None:
        making.remove_leftovers(self._layout.dataset_work)
        order = self._orders.get(name)
        if order is None:
            raise NoSuchRoute(f"there is no request for a training set {name!r}")
        archive = self._archive(order)
        frozen = None if archive else frozen_batch.read(self._layout, segments_too=False)
        counts = self._counts(archive) if frozen is None else (frozen.state.segments, frozen.state.bytes)
        done = DatasetStore(self._layout, self._reader.batches).find(name)
        if done is not None and made_of(done.manifest, order, counts[0]):
            return
        folder = os.path.join(self._layout.dataset_work, f"making-{name}")
        with (
            storage_errors("writing the training set"),
            one_batch(Catalog(self._reader, self._layout), archive or OPEN_BATCH) as batch,
        ):
            os.mkdir(folder)

            def tell(step: str, done: int, total: int) -> None:
                self._orders.report(Progress(name, step, done, total))

            source = Source(batch, order.opened, *counts)
            manifest = making.make(order.request, source, folder, self._max_samples, tell)
            making.require_events(manifest)
            PosixFileSystem().pipe_file(os.path.join(folder, sets.MANIFEST), sets.encode(manifest))
        self._publish(name, archive, frozen, folder)

    def _archive(self, order: Order) -> str:
        """The name of the archive that holds the batch; empty where the batch is still the open one."""
        if self._reader.batches.current()[1] == order.opened:
            return ""
        for archived in self._reader.batches.archived():
            if archived.opened == order.opened:
                return archived.name
        raise NoSuchFile(f"batch {order.batch} is not on the volume any more")

    def _counts(self, archive: str) -> tuple[int, int]:
        counts = read_view(os.path.join(self._layout.archive(archive), self._layout.stat_name))
        return int(str(counts["n_itm"])), int(str(counts["buff_size"]))

    def _publish(self, name: str, archive: str, frozen: FrozenBatch | None, folder: str) -> None:
        """Make the set durable, then visible in one rename, beside its batch or not at all."""
        fs = PosixFileSystem()
        target = os.path.join(self._layout.datasets_of(archive), name)
        replaced = os.path.join(self._layout.dataset_work, f"replaced-{name}")
        sync_filesystem(self._layout.root)
        failpoint("dataset.written")
        unchanged = contextlib.nullcontext() if frozen is None else frozen_batch.hold_unchanged(self._layout, frozen)
        try:
            with unchanged, storage_errors("putting the training set in place"):
                if self._orders.get(name) is None:  # deleted meanwhile
                    return
                if archive and not os.path.isdir(self._layout.archive(archive)):
                    raise NoSuchFile(f"the archive {archive!r} is not on the volume any more")
                os.makedirs(os.path.dirname(target), exist_ok=True)
                if os.path.isdir(target):  # of this batch, before it was opened again and grew
                    fs.mv(target, replaced)
                fs.mv(folder, target)
                if self._orders.get(name) is None:  # deleted since, by one who may have found no set
                    with contextlib.suppress(FileNotFoundError):
                        fs.mv(target, folder)
                    return
                fsync_directory(os.path.dirname(target))
                fsync_directory(os.path.dirname(os.path.dirname(target)))
        finally:
            shutil.rmtree(folder, ignore_errors=True)
            shutil.rmtree(replaced, ignore_errors=True)
        failpoint("dataset.placed")


def made_of(manifest: sets.Manifest, order: Order, n_itm: int) -> bool:
    """Whether a set is what an order wants, made of a batch with so many segments."""
    return (manifest.request, manifest.opened, manifest.n_itm) == (order.request, order.opened, n_itm)


def main() -> int:
    """Do the job once; the exit code is 0 when the set is in place."""
    os.nice(10)  # ingest comes first
    begin("datasets")
    warnings.simplefilter("ignore")
    began = time.monotonic()
    try:
        make(config.store_from_env(), config.limits_from_env().span, sys.argv[1])
    except Exception as error:
        return report(error)
    log.info("training set %s in place after %.1f s", sys.argv[1], time.monotonic() - began)
    return 0


if __name__ == "__main__":
    sys.exit(main())
