"""The Data Buffer in this process: the writer, its reader and group commit, called directly."""

from __future__ import annotations

from shared.domain.commit import Committed
from shared.domain.messages import Counts, Description, as_json_text, cleaned_answer, stored_answer
from shared.domain.request_key import ANONYMOUS, Origin
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
        self.channel = reader.channel
        self.archives = reader.archives

    def stat(self) -> Counts:
        """As `DataBuffer.stat`."""
        return _counts(self._writer.state())

    def dstat(self) -> Description:
        """As `DataBuffer.dstat`."""
        state = self._writer.state()
        return Description(state.status, state.user, state.token)

    async def send(self, body: bytes, origin: Origin = ANONYMOUS, format: str = "") -> str:
        """As `DataBuffer.send`."""
        return as_json_text(stored_answer(await self._committer.submit(body, origin, format)))

    def freeze(self, user: str, token: str, origin: Origin = ANONYMOUS, batch: int | None = None) -> Committed:
        """As `DataBuffer.freeze`."""
        return self._writer.set_status(user, token, origin=origin, batch=batch)

    def cleanall(self, origin: Origin = ANONYMOUS, batch: int | None = None) -> str:
        """As `DataBuffer.cleanall`."""
        return as_json_text(cleaned_answer(self._writer.archive_batch(origin, batch)))


def _counts(state: State) -> Counts:
    return Counts(state.segments, state.bytes)
