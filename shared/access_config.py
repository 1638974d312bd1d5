"""The configuration of who may ask a store for what, and for how much: limits and trust, from the environment."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

from shared.config import ConfigError, _count, _read, _seconds, _switch

Standing = Literal["on", "off", "exposed"]  # of authentication


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What one client may ask of a process. Sizes are in bytes, times in seconds."""

    body: int = 8 << 20  # of one request
    bodies: int = 64 << 20  # of all requests under way, the queue's included
    header: int = 32 << 10  # request line and headers
    patience: float = 30.0  # for a request's headers to arrive, and for its body
    connections: int = 1024
    page: int = 100_000  # names or log entries in one page


def limits_from_env(env: Mapping[str, str] = os.environ) -> Limits:
    """The limits of this process.

    Raises:
        ConfigError: as `from_env`.
    """
    positive = "a positive number of bytes"
    limits = Limits(
        body=_read(env, "MAX_BODY", Limits.body, _count(), positive),
        bodies=_read(env, "MAX_BODIES", Limits.bodies, _count(), positive),
        header=_read(env, "MAX_HEADER", Limits.header, _count(), positive),
        patience=_read(env, "REQUEST_TIMEOUT", Limits.patience, _seconds, "a positive number of seconds"),
        connections=_read(env, "MAX_CONNECTIONS", Limits.connections, _count(), "a positive whole number"),
        page=_read(env, "MAX_PAGE", Limits.page, _count(), "a positive whole number"),
    )
    if limits.bodies < limits.body:
        raise ConfigError(f"MAX_BODIES={limits.bodies}: must be at least MAX_BODY, {limits.body}")
    return limits


def limits_for_batches(env: Mapping[str, str] = os.environ) -> Limits:
    """The writer's limits: a batch of commits is longer than a segment, and carries none. Errors as `from_env`."""
    limits = limits_from_env(env)
    room = max(limits.body, 64 << 20)
    return replace(limits, body=room, bodies=max(limits.bodies, room))


@dataclass(frozen=True, kw_only=True)
class Issuer:
    """Whose JWTs are believed: `iss`, any of the audiences in `aud`, and where the keys are (a file or a URL)."""

    issuer: str
    audiences: tuple[str, ...]
    jwks: str


@dataclass(frozen=True, kw_only=True)
class Trust:
    """Who may use a store; see docs/security.md."""

    tokens: str = ""  # AUTH_TOKENS: file of hashed tokens
    people: Issuer | None = None  # AUTH_ISSUER, AUTH_AUDIENCE, AUTH_JWKS: tokens with scopes
    path: str = "/"  # AUTH_PATH: which path in a scope means this store
    events: Issuer | None = None  # EVENTS_ISSUER ...: tokens of Knative's event deliveries, which have no scopes
    senders: tuple[str, ...] = ()  # EVENTS_SENDERS: subjects of those tokens
    public_read: bool = False  # AUTH_PUBLIC_READ: reading needs no credentials

    @property
    def on(self) -> bool:
        """Whether callers are asked who they are."""
        return bool(self.tokens or self.people or self.events)

    def standing(self, host: str) -> Standing:
        """How a store that listens at `host` stands: "exposed" if it obeys whoever reaches it from other machines."""
        if self.on:
            return "on"
        return "off" if host in ("localhost", "::1") or host.startswith("127.") else "exposed"


def trust_from_env(env: Mapping[str, str] = os.environ) -> Trust:
    """Who may use this store.

    Raises:
        ConfigError: as `from_env`.
    """
    trust = Trust(
        tokens=env.get("AUTH_TOKENS", ""),
        people=_issuer(env, "AUTH"),
        path=_read(env, "AUTH_PATH", Trust.path, _absolute, "a path that begins with / and goes nowhere else"),
        events=_issuer(env, "EVENTS"),
        senders=_words(env.get("EVENTS_SENDERS", "")),
        public_read=_read(env, "AUTH_PUBLIC_READ", Trust.public_read, _switch, "true or false"),
    )
    if trust.events and not trust.senders:
        raise ConfigError("EVENTS_SENDERS='': must name the subjects that may deliver events")
    if trust.on and env.get("WRITER_URL") and not env.get("AUTH_SERVICE_TOKEN"):
        raise ConfigError("AUTH_SERVICE_TOKEN='': must name a file with the token that the writer takes")
    return trust


def _issuer(env: Mapping[str, str], prefix: str) -> Issuer | None:
    given = {name: env.get(f"{prefix}_{name}", "") for name in ("ISSUER", "AUDIENCE", "JWKS")}
    if not any(given.values()):
        return None
    for name, value in given.items():
        if not value:
            raise ConfigError(f"{prefix}_{name}='': must be set, with the other two of ISSUER, AUDIENCE and JWKS")
    return Issuer(issuer=given["ISSUER"], audiences=_words(given["AUDIENCE"]), jwks=given["JWKS"])


def _words(text: str) -> tuple[str, ...]:
    return tuple(filter(None, (word.strip() for word in text.split(","))))


def _absolute(text: str) -> str:
    if os.path.normpath(text) != text or not text.startswith("/"):
        raise ValueError
    return text
