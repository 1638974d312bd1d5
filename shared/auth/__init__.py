"""Authentication and authorisation: credentials in a request become a principal, and routes require scopes."""

from shared.auth.guard import (
    ANY_PRINCIPAL,
    OPEN,
    OPERATE,
    READ,
    SERVICE,
    WRITE,
    Credentialed,
    Guard,
    Requirement,
    authorize,
    read_tokens,
    recorded_identity,
    requirement_of,
    requires,
)

__all__ = [
    "ANY_PRINCIPAL",
    "OPEN",
    "OPERATE",
    "READ",
    "SERVICE",
    "WRITE",
    "Credentialed",
    "Guard",
    "Requirement",
    "authorize",
    "read_tokens",
    "recorded_identity",
    "requirement_of",
    "requires",
]
