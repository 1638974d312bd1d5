"""The Data Buffer as Datastore Logic sees it: what it asks for, and the answers within one process."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

import msgspec

from shared.intake import Intake
from shared.reader import Reader
from shared.requests import CLEANED, written
from shared.writer import Writer


class Counts(msgspec.Struct):
    """What /stat says: segments in the batch, and their size in bytes."""

    n_itm: int
    buff_size: int


class Description(msgspec.Struct):
    """What /dstat says: OPERATIONAL or FROZEN, and who asked for that."""

    dstatus: str
    user: str
    token: str


class Archive(msgspec.Struct):
    """A batch that was filed away: its folder's name and its final counts."""

    name: str
    n_itm: int = 0
    buff_size: int = 0


class Buffer(Protocol):
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

    def archives(self) -> list[Archive]:
        """The newest archives, newest first."""

    async def send(self, body: bytes, key: str = "") -> str:
        """Store a segment; the text of the Data Buffer's answer."""

    def freeze(self, user: str, token: str, key: str = "") -> Counts:
        """Freeze the batch; the counts it froze with."""

    def cleanall(self, key: str = "") -> str:
        """File the batch away; the text of the Data Buffer's answer."""


class LocalBuffer:
    """The Data Buffer in this process."""

    def __init__(self, writer: Writer, reader: Reader, intake: Intake) -> None:
        self._writer = writer
        self._intake = intake
        self.names = reader.names
        self.log = reader.log
        self.segment = reader.segment
        self._archives = reader.archives

    def stat(self) -> Counts:
        """As `Buffer.stat`."""
        state = self._writer.state()
        return Counts(state.n_itm, state.buff_size)

    def dstat(self) -> Description:
        """As `Buffer.dstat`."""
        state = self._writer.state()
        return Description(state.dstatus, state.user, state.token)

    def archives(self) -> list[Archive]:
        """As `Buffer.archives`."""
        return msgspec.convert(self._archives(), list[Archive])

    async def send(self, body: bytes, key: str = "") -> str:
        """As `Buffer.send`."""
        return text_of(written(await self._intake.store(body, key)))

    def freeze(self, user: str, token: str, key: str = "") -> Counts:
        """As `Buffer.freeze`."""
        state = self._writer.update(user, token, key=key).state
        return Counts(state.n_itm, state.buff_size)

    def cleanall(self, key: str = "") -> str:
        """As `Buffer.cleanall`."""
        self._writer.cleanall(key)
        return text_of(CLEANED)


def text_of(answer: dict[str, str]) -> str:
    """An answer as the text that it is over HTTP."""
    return msgspec.json.encode(answer).decode()
