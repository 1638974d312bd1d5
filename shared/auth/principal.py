"""Principals: authenticated clients, and the scopes that they may have."""

from __future__ import annotations

from typing import NamedTuple

READ, WRITE, OPERATE = "read", "write", "operate"
SERVICE = "service"  # the store's own functions: they commit records, and act on behalf of users
SCOPES = frozenset((READ, WRITE, OPERATE, SERVICE))


class Principal(NamedTuple):
    """An authenticated client.

    Attributes:
        name: from the token file, or the JWT's subject.
        scopes: the granted scopes; none implies another.
        fingerprint: the first digits of the SHA-256 of the credentials, which may be recorded.
        acts_on_behalf: whether its requests are for users whom it names itself.
    """

    name: str
    scopes: frozenset[str]
    fingerprint: str
    acts_on_behalf: bool = False


def fingerprint_of(digest: str) -> str:
    """The fingerprint of credentials with this SHA-256, given in hex."""
    return f"sha256:{digest[:12]}"
