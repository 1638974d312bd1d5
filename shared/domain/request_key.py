"""Names of requests, by which a repetition is recognised."""

from __future__ import annotations

from typing import NamedTuple


class RequestKey(NamedTuple):
    """The name that a client gave its request. It is unique together with the kind of the request and its caller.

    Attributes:
        source: `source` of the CloudEvent; empty for an `Idempotency-Key` header.
        id: `id` of the CloudEvent, or the header's value.
    """

    source: str
    id: str

    @property
    def legacy_text(self) -> str:
        """The key as version 0.1.0 wrote it to journals, where different keys may have the same text."""
        return f"{self.source} {self.id}" if self.source else self.id


class Origin(NamedTuple):
    """Where a request comes from.

    Attributes:
        by: name of the principal that sent it; empty where authentication is off.
        key: the name that the principal gave it, if any.
        authorization: the Authorization header that proves the principal to the next function; a secret.
    """

    by: str = ""
    key: RequestKey | None = None
    authorization: str = ""

    def __repr__(self) -> str:
        return f"Origin(by={self.by!r}, key={self.key!r})"


ANONYMOUS = Origin()


class KeyedDecision(NamedTuple):
    """A freeze or cleanall that was decided under a key.

    Attributes:
        kind: UPDATE or CLEAN, as in the journal.
        by: name of the principal that sent the request.
        key: the key; a string where version 0.1.0 wrote it.
        batch: number of the batch that it was decided about.
        archive: name of the archive, for CLEAN.
    """

    kind: str
    by: str
    key: RequestKey | str
    batch: int
    archive: str = ""
