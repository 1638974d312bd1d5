"""Protocols of the Data Buffer and of Datastore Logic, in this process or across HTTP.

Every method may raise any DatastoreError.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from shared.domain.commit import Committed
from shared.domain.messages import ArchiveList, Counts, Description
from shared.domain.request_key import ANONYMOUS, Origin


class _Batch(Protocol):
    def stat(self) -> Counts:
        """The counts."""

    def dstat(self) -> Description:
        """The status and the operator."""

    def names(self, after: str = "", limit: int | None = None, batch: int | None = None) -> Iterable[str]:
        """File names in order of arrival: those behind `after`, `limit` at most, of `batch` if given."""

    async def send(self, body: bytes, origin: Origin = ANONYMOUS, format: str = "") -> str:
        """Store a segment, or a block of a format, once; return the text of the Data Buffer's answer."""


class DataBuffer(_Batch, Protocol):
    """The storage functions together."""

    def log(self, after: str = "", limit: int | None = None, batch: int | None = None) -> Iterable[bytes]:
        """The log of the stored segments, each a JSON object, in order of arrival; arguments as in `names`."""

    def segment(self, name: str) -> bytes:
        """A stored segment, as it was received."""

    def channel(self, name: str, channel: str, t0: float | None = None) -> bytes:
        """The run of a channel in a stored block that begins at `t0` (GPS seconds), as the JSON of a segment."""

    def archives(self, after: str = "", limit: int | None = None) -> ArchiveList:
        """A page of the archives, newest first: those behind `after`, `limit` at most; and the open batch."""

    def freeze(self, user: str, token: str, origin: Origin = ANONYMOUS, batch: int | None = None) -> Committed:
        """Freeze the batch; return its counts and state. A repetition changes nothing.

        Raises:
            BatchChanged: another batch is open than `batch`.
        """

    def cleanall(self, origin: Origin = ANONYMOUS, batch: int | None = None) -> str:
        """Archive the batch; return the text of the Data Buffer's answer. A repetition changes nothing.

        Raises:
            BatchChanged: another batch is open than `batch`.
        """


class LogicAPI(_Batch, Protocol):
    """Datastore Logic, as GlitchflowAPI uses it."""

    def freeze(self, user: str, token: str, origin: Origin = ANONYMOUS, batch: int | None = None) -> Committed | None:
        """Freeze the batch if the policy allows it; return its counts and state, or None if it is too small.

        Raises:
            BatchChanged: another batch is open than `batch`.
        """

    def flush(self, origin: Origin = ANONYMOUS, batch: int | None = None) -> str:
        """Archive the batch; return the text of the Data Buffer's answer.

        Raises:
            BatchChanged: another batch is open than `batch`.
            FlushFailed: the volume refused.
        """
