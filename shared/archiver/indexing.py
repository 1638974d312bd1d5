"""`coverage.json` and the index of strain of an archive, made before it is copied, so that the copy has the first."""

from __future__ import annotations

import logging

from shared.catalog.catalog import Catalog
from shared.config import StoreConfig
from shared.errors import DatastoreError
from shared.storage.reader import BatchReader
from shared.volume.layout import Layout

log = logging.getLogger(__name__)


def make_coverage(settings: StoreConfig, layout: Layout, name: str) -> None:
    """Make both where they are not there. They are for readers; an archive is copied without them, too."""
    try:
        Catalog(BatchReader(settings), layout).save_archive(name)
    except DatastoreError as error:
        log.warning("%r is copied without coverage.json: %s", name, error)
