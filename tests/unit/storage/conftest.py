from __future__ import annotations

import pytest

from shared.ingest.spool_writer import SpoolWriter
from shared.storage.writer import Writer


@pytest.fixture
def writer(config):
    writer = Writer(config)
    writer.open()
    yield writer
    writer.close()


@pytest.fixture
def spool(config, writer):
    """A spool on the volume of `writer`. Each module says with which settings, as `config`."""
    spool = SpoolWriter.from_config(config)
    yield spool
    spool.close()
