"""Authentication and authorisation: credentials in a request become a principal, and routes require scopes."""

from shared.auth.guard import ANY_PRINCIPAL, OPEN, Guard, authorize, recorded_identity, requires
from shared.auth.principal import CLEANALL, COMMIT, FREEZE, OPERATE, READ, RELAY, WRITE, Principal

__all__ = [
    "ANY_PRINCIPAL",
    "CLEANALL",
    "COMMIT",
    "FREEZE",
    "OPEN",
    "OPERATE",
    "READ",
    "RELAY",
    "WRITE",
    "Guard",
    "Principal",
    "authorize",
    "recorded_identity",
    "requires",
]
