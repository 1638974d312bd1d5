"""Protocols of the Data Buffer and of Datastore Logic, in this process or across HTTP.

Every method may raise any DatastoreError.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from shared.domain.messages import ArchiveSummary, Counts, Description


class _Batch(Protocol):
    def stat(self) -> Counts:
        """The counts."""

    def dstat(self) -> Description:
        """The status and the operator."""

    def names(self, after: str = "", limit: int | None = None) -> Iterable[str]:
        """File names in order of arrival: those behind `after`, `limit` at most."""

    async def send(self, body: bytes, key: str = "") -> str:
        """Store a segment; return the text of the Data Buffer's answer. A repeated `key` stores it once."""


class DataBuffer(_Batch, Protocol):
    """The storage functions together."""

    def log(self, after: str = "", limit: int | None = None) -> Iterable[bytes]:
        """The log of the stored segments, each a JSON object, in order of arrival; arguments as in `names`."""

    def segment(self, name: str) -> bytes:
        """A stored segment, as it was received."""

    def archives(self) -> list[ArchiveSummary]:
        """The newest archives, newest first."""

    def freeze(self, user: str, token: str, key: str = "") -> Counts:
        """Freeze the batch; return its final counts. A repeated `key` changes nothing."""

    def cleanall(self, key: str = "") -> str:
        """Archive the batch; return the text of the Data Buffer's answer. A repeated `key` changes nothing."""


class LogicAPI(_Batch, Protocol):
    """Datastore Logic, as GlitchflowAPI uses it."""

    def freeze(self, user: str, token: str, key: str = "") -> Counts | None:
        """Freeze the batch if the policy allows it; return its final counts, or None if it is too small."""

    def flush(self, key: str = "") -> str:
        """Archive the batch; return the text of the Data Buffer's answer.

        Raises:
            FlushFailed: the volume refused.
        """
