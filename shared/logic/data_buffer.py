"""The Data Buffer as Datastore Logic sees it: what it asks for, and the answers within one process."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

import msgspec

from shared.domain.messages import CLEANED, stored_answer
from shared.ingest.group_commit import GroupCommitter
from shared.storage.reader import BatchReader
from shared.storage.writer import Writer


class Counts(msgspec.Struct):
    """What /stat says: segments in the batch, and their size in bytes."""

    n_itm: int
    buff_size: int


class Description(msgspec.Struct):
    """What /dstat says: OPERATIONAL or FROZEN, and who asked for that."""

    dstatus: str
    user: str
    token: str


class ArchiveSummary(msgspec.Struct):
    """A batch that was filed away: its folder's name and its final counts."""

    name: str
    n_itm: int = 0
    buff_size: int = 0


class DataBuffer(Protocol):
    """A Data Buffer, in this process or across HTTP. Every call may raise any DatastoreError."""

    def stat(self) -> Counts:
        """The counts."""

    def dstat(self) -> Description:
        """The state."""

    def names(self, after: str = "", limit: int | None = None) -> Iterable[str]:
        """File names in order of arrival."""

    def log(self, after: str = "", limit: int | None = None) -> Iterable[bytes]:
        """The log of the stored segments, each as a JSON object, in order of arrival."""

    def segment(self, name: str) -> bytes:
        """A stored segment, as it was received."""

    def archives(self) -> list[ArchiveSummary]:
        """The newest archives, newest first."""

    async def send(self, body: bytes, key: str = "") -> str:
        """Store a segment; the text of the Data Buffer's answer."""

    def freeze(self, user: str, token: str, key: str = "") -> Counts:
        """Freeze the batch; the counts it froze with."""

    def cleanall(self, key: str = "") -> str:
        """File the batch away; the text of the Data Buffer's answer."""


class InProcessBuffer:
    """The Data Buffer in this process."""

    def __init__(self, writer: Writer, reader: BatchReader, intake: GroupCommitter) -> None:
        self._writer = writer
        self._intake = intake
        self.names = reader.names
        self.log = reader.log
        self.segment = reader.segment
        self._archives = reader.archives

    def stat(self) -> Counts:
        """As `Buffer.stat`."""
        state = self._writer.state()
        return Counts(state.segments, state.bytes)

    def dstat(self) -> Description:
        """As `Buffer.dstat`."""
        state = self._writer.state()
        return Description(state.status, state.user, state.token)

    def archives(self) -> list[ArchiveSummary]:
        """As `Buffer.archives`."""
        return msgspec.convert(self._archives(), list[ArchiveSummary])

    async def send(self, body: bytes, key: str = "") -> str:
        """As `Buffer.send`."""
        return as_json_text(stored_answer(await self._intake.submit(body, key)))

    def freeze(self, user: str, token: str, key: str = "") -> Counts:
        """As `Buffer.freeze`."""
        state = self._writer.set_status(user, token, key=key).state
        return Counts(state.segments, state.bytes)

    def cleanall(self, key: str = "") -> str:
        """As `Buffer.cleanall`."""
        self._writer.archive_batch(key)
        return as_json_text(CLEANED)


def as_json_text(answer: dict[str, str]) -> str:
    """An answer as the text that it is over HTTP."""
    return msgspec.json.encode(answer).decode()
