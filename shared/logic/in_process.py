"""The Data Buffer in this process: the writer, its reader and group commit, called directly."""

from __future__ import annotations

import msgspec

from shared.domain.messages import CLEANED, ArchiveSummary, Counts, Description, as_json_text, stored_answer
from shared.domain.state import State
from shared.ingest.group_commit import GroupCommitter
from shared.storage.reader import BatchReader
from shared.storage.writer import Writer


class InProcessBuffer:
    """A `DataBuffer` without HTTP."""

    def __init__(self, writer: Writer, reader: BatchReader, committer: GroupCommitter) -> None:
        self._writer = writer
        self._committer = committer
        self.names = reader.names
        self.log = reader.log
        self.segment = reader.segment
        self._archives = reader.archives

    def stat(self) -> Counts:
        """As `DataBuffer.stat`."""
        return _counts(self._writer.state())

    def dstat(self) -> Description:
        """As `DataBuffer.dstat`."""
        state = self._writer.state()
        return Description(state.status, state.user, state.token)

    def archives(self) -> list[ArchiveSummary]:
        """As `DataBuffer.archives`."""
        return msgspec.convert(self._archives(), list[ArchiveSummary])

    async def send(self, body: bytes, key: str = "") -> str:
        """As `DataBuffer.send`."""
        return as_json_text(stored_answer(await self._committer.submit(body, key)))

    def freeze(self, user: str, token: str, key: str = "") -> Counts:
        """As `DataBuffer.freeze`."""
        return _counts(self._writer.set_status(user, token, key=key).state)

    def cleanall(self, key: str = "") -> str:
        """As `DataBuffer.cleanall`."""
        self._writer.archive_batch(key)
        return as_json_text(CLEANED)


def _counts(state: State) -> Counts:
    return Counts(state.segments, state.bytes)
