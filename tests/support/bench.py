"""A store without servers: a writer on a real volume, and readers of it."""

from __future__ import annotations

import json
from collections.abc import Iterable

import msgspec

from shared.catalog.catalog import Catalog
from shared.config import store_from_env
from shared.ingest.spool_writer import SpoolWriter
from shared.storage.reader import BatchReader
from shared.storage.writer import Writer
from tests.support.builders import commit_requests, segment


class Bench:
    """A writer, and catalogs that read its volume."""

    def __init__(self, root, **env: str) -> None:
        self.config = store_from_env({"ROOT": str(root), "STAGE_APART": "1000", **env})
        self.writer = Writer(self.config)
        self.writer.open()
        self.spool = SpoolWriter.from_config(self.config)
        self.layout = self.writer.layout

    def store(self, *seconds: int, channel="V1:X") -> None:
        """Store one second at 4 Hz for each GPS time."""
        for t0 in seconds:
            fields = {"t0": float(t0), "dt": 0.25, "samples": 4, "detector": "V1", "channel": channel}
            self.writer.commit(commit_requests(self.spool, [segment(4, t0=t0, dt=0.25)], **fields))

    def store_many(self, seconds: Iterable[int], h: list[float], channel="V1:X") -> None:
        """Store one second with these samples for each GPS time, as one group."""
        times = list(seconds)
        dt = 1.0 / len(h)
        bodies = [json.dumps({"h": h, "t": [float(t0), dt], "channel": channel}).encode() for t0 in times]
        fields = {"dt": dt, "samples": len(h), "detector": "V1", "channel": channel}
        requests = commit_requests(self.spool, bodies, **fields)
        self.writer.commit(
            [msgspec.structs.replace(one, t0=float(t0)) for one, t0 in zip(requests, times, strict=True)]
        )

    def catalog(self) -> Catalog:
        """A new one, as after a start."""
        return Catalog(BatchReader(self.config), self.layout)

    def archives(self) -> list[str]:
        return [archived.name for archived in BatchReader(self.config).batches.archived()]

    def close(self) -> None:
        self.spool.close()
        self.writer.close()
