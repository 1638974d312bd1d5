"""Authentication and authorisation: credentials in a request become a principal, and routes require scopes."""

from shared.auth.guard import ANY_PRINCIPAL, OPEN, Guard, authorize, recorded_identity, requires
from shared.auth.principal import OPERATE, READ, SERVICE, WRITE, Principal

__all__ = [
    "ANY_PRINCIPAL",
    "OPEN",
    "OPERATE",
    "READ",
    "SERVICE",
    "WRITE",
    "Guard",
    "Principal",
    "authorize",
    "recorded_identity",
    "requires",
]
