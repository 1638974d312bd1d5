"""Layout of the volume: the path of everything that a store keeps on disk."""

from __future__ import annotations

import os

from shared.config import StoreConfig
from shared.config.store import DATASETS, PRODUCTS
from shared.volume.posix import storage_errors


class Layout:
    """The paths of one store.

    Attributes:
        journal: the commit log of the open batch.
        lock: file whose flock is held by whoever decides about the batch, or puts something beside it.
        data: the batch's segments, one file each; its absence means something, so nobody creates it by the way.
        spool: folder of the payload log: spool files, and staged payloads not yet renamed into `data`.
        products: what preproc made of the frozen batch.
        datasets: the training sets made of the frozen batch, a folder each.
        dataset_work: folder of the requests for training sets that are not done, and of the set under way.
        archive_work: folder of the archiver: its locks, what it has uploaded of an archive, and requests to it.
        strain_index: where the strain of the open batch lies in time, so that it need not be read from the journal.
        products_progress: how far the job that makes them has come; not durable.
        counters: segments and bytes of the batch, for readers that must be exact.
        stat_view, dstat_view: the published counts and state, for people and scripts.
        checkpoint: the journal replayed up to an offset.
        outbox_cursor: up to where events have been delivered to the sink.
        missing: names of acknowledged segments whose files are gone or have another size, if there are any.
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
        self.products_progress = os.path.join(config.volume_root, ".products.progress")
        self.products_replaced = os.path.join(config.volume_root, ".products.old")
        self.datasets = os.path.join(config.volume_root, DATASETS)
        self.dataset_work = os.path.join(config.volume_root, ".datasets")
        self.archive_work = os.path.join(config.volume_root, ".archives")
        self.strain_index = os.path.join(config.volume_root, ".strain.idx")
        self.counters = os.path.join(config.adm_root, "tally")
        self.stat_view = os.path.join(config.adm_root, config.stat_name)
        self.dstat_view = os.path.join(config.adm_root, config.dstat_name)
        self.checkpoint = os.path.join(config.adm_root, "checkpoint")
        self.outbox_cursor = os.path.join(config.adm_root, "outbox.json")
        self.missing = os.path.join(config.adm_root, "missing.json")
        self.announced = os.path.join(config.adm_root, "announced.json")

    def archive(self, name: str) -> str:
        """The folder of an archived batch."""
        return os.path.join(self.root, name)

    def datasets_of(self, archive: str) -> str:
        """The folder of the training sets of an archived batch; of the open batch where `archive` is empty."""
        return os.path.join(self.root, archive, DATASETS) if archive else self.datasets

    def archived_journal(self, name: str) -> str:
        """The journal in an archive."""
        return os.path.join(self.root, name, self.journal_name)


def create_folders(layout: Layout) -> None:
    """Create the folders that are missing, except `data/`.

    Raises:
        StorageFailed: a folder cannot be created.
    """
    with storage_errors("creating the store's folders"):
        for folder in (layout.adm, layout.log, layout.spool):
            os.makedirs(folder, exist_ok=True)
