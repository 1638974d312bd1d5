"""The jobs of the embedded store: what it has done by processes beside it."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from shared import config
from shared.archiver.runner import ArchiveRunner
from shared.clients.event_sink import EventSink
from shared.datasets.runner import DatasetRunner
from shared.preproc.runner import PreprocRunner
from shared.storage.reader import BatchReader


class Jobs(NamedTuple):
    """Who has products made, who training sets, and who has archives copied."""

    preproc: PreprocRunner
    datasets: DatasetRunner
    archives: ArchiveRunner

    @classmethod
    def of(cls, reader: BatchReader, soon: Callable[[], bool]) -> Jobs:
        """The jobs of the store that is read by `reader`, of which `soon` says whether it may soon be frozen."""
        publish = EventSink.from_config(reader.config).publish
        datasets = DatasetRunner(reader, publish, config.limits_from_env().span)
        return cls(PreprocRunner(reader.config, publish, soon), datasets, ArchiveRunner(reader))

    def tasks(self) -> list[Callable[[], object]]:
        """What begins with the work that is to be done; tasks of `Maintenance`."""
        automatic = self.preproc.config.preproc_auto and self.preproc.present()
        return [*([self.preproc.poll] if automatic else []), self.datasets.wake, self.archives.wake]
