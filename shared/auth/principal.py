"""Principals: authenticated clients, and the scopes that they may have."""

from __future__ import annotations

from typing import NamedTuple

READ, WRITE, OPERATE = "read", "write", "operate"
# For the store's own functions. The first three are named after the events that the writer takes.
COMMIT, FREEZE, CLEANALL = "writer.commit", "writer.freeze", "writer.cleanall"
RELAY = "relay"  # to name the client on whose behalf a request is sent
SERVICE = "service"  # in a token file of version 0.1.0: all four of them
OF_SERVICE = frozenset((COMMIT, FREEZE, CLEANALL, RELAY))
SCOPES = frozenset((READ, WRITE, OPERATE, *OF_SERVICE))


class Principal(NamedTuple):
    """An authenticated client.

    Attributes:
        name: from the token file, or the JWT's subject.
        scopes: the granted scopes; none implies another.
        fingerprint: the first digits of the SHA-256 of the credentials, which may be recorded.
    """

    name: str
    scopes: frozenset[str]
    fingerprint: str

    @property
    def acts_on_behalf(self) -> bool:
        """Whether its requests may be for clients whom it names itself."""
        return RELAY in self.scopes


def fingerprint_of(digest: str) -> str:
    """The fingerprint of credentials with this SHA-256, given in hex."""
    return f"sha256:{digest[:12]}"
