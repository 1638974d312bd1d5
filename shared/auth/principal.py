"""Who is asking, once their credentials have told it, and the scopes there are."""

from __future__ import annotations

from typing import NamedTuple

READ, WRITE, OPERATE = "read", "write", "operate"
SERVICE = "service"  # the store's own functions: they commit records, and say on whose behalf they ask
SCOPES = frozenset((READ, WRITE, OPERATE, SERVICE))


class Principal(NamedTuple):
    """Who is asking.

    Attributes:
        name: as the token file or the JWT's subject has it.
        scopes: what they may do; no scope implies another.
        mark: a fingerprint of their credentials, fit to be recorded: the beginning of their SHA-256.
        relays: whether they speak for others, whom they name themselves.
    """

    name: str
    scopes: frozenset[str]
    fingerprint: str
    acts_on_behalf: bool = False
