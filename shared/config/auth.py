"""Credentials that a store trusts: token files and issuers of JWTs. See docs/security.md."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Literal

from shared.config.env import (
    ABSOLUTE_PATH,
    HOSTS,
    ORIGINS,
    SWITCH,
    TEXT,
    ConfigError,
    Environment,
    read,
    setting,
    words,
)

AuthMode = Literal["on", "off", "exposed"]


@dataclass(frozen=True, kw_only=True)
class Issuer:
    """A trusted issuer of JWTs.

    Attributes:
        issuer: the `iss` claim.
        audiences: accepted values of the `aud` claim.
        jwks: where the public keys are: a file or a URL.
    """

    issuer: str
    audiences: tuple[str, ...]
    jwks: str


@dataclass(frozen=True, kw_only=True)
class AuthConfig:
    """The trusted credentials.

    Attributes:
        users: issuer of users' tokens, which carry scopes (AUTH_ISSUER, AUTH_AUDIENCE, AUTH_JWKS).
        events: issuer of the tokens of Knative's event deliveries, which carry none (EVENTS_ISSUER ...).
        event_subjects: EVENTS_SENDERS: subjects of tokens that may deliver events.
    """

    tokens: str = setting("AUTH_TOKENS", "", TEXT, "file of hashed tokens")
    users: Issuer | None = None
    path: str = setting("AUTH_PATH", "/", ABSOLUTE_PATH, "the path in a token's scopes that means this store")
    events: Issuer | None = None
    event_subjects: tuple[str, ...] = ()
    public_read: bool = setting("AUTH_PUBLIC_READ", False, SWITCH, "reading needs no credentials")
    hosts: str = setting(
        "ALLOWED_HOSTS", "", HOSTS, "without authentication: further names of the store, separated by commas"
    )
    origins: str = setting("CORS_ORIGINS", "", ORIGINS, "sites whose pages may read, separated by commas")

    @property
    def enabled(self) -> bool:
        """Whether requests need credentials."""
        return bool(self.tokens or self.users or self.events)

    @property
    def allowed_hosts(self) -> tuple[str, ...]:
        """ALLOWED_HOSTS: names in lower case, each with or without a port."""
        return words(self.hosts.lower())

    @property
    def cors_origins(self) -> tuple[str, ...]:
        """CORS_ORIGINS, as browsers send them."""
        return words(self.origins.lower())

    def mode(self, host: str) -> AuthMode:
        """The mode of a store that listens at `host`: "exposed" if other machines reach it without credentials."""
        if self.enabled:
            return "on"
        return "off" if host in ("localhost", "::1") or host.startswith("127.") else "exposed"


def auth_from_env(env: Environment = os.environ) -> AuthConfig:
    """The credentials that this process trusts.

    Raises:
        ConfigError: as `store_from_env`.
    """
    config = read(
        AuthConfig,
        env,
        users=_issuer(env, "AUTH"),
        events=_issuer(env, "EVENTS"),
        event_subjects=words(env.get("EVENTS_SENDERS", "")),
    )
    if config.events and not config.event_subjects:
        raise ConfigError("EVENTS_SENDERS='': must name the subjects that may deliver events")
    if config.enabled and env.get("WRITER_URL") and not env.get("AUTH_SERVICE_TOKEN"):
        raise ConfigError("AUTH_SERVICE_TOKEN='': must name a file with the token that the writer takes")
    return config


def _issuer(env: Environment, prefix: str) -> Issuer | None:
    given = {name: env.get(f"{prefix}_{name}", "") for name in ("ISSUER", "AUDIENCE", "JWKS")}
    if not any(given.values()):
        return None
    for name, value in given.items():
        if not value:
            raise ConfigError(f"{prefix}_{name}='': must be set, with the other two of ISSUER, AUDIENCE and JWKS")
    return Issuer(issuer=given["ISSUER"], audiences=words(given["AUDIENCE"]), jwks=given["JWKS"])
