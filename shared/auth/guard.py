"""Authentication and authorisation: credentials in a request become a principal, and routes require scopes.

Credentials are a token (`tokens`) or a JWT (`jwt_verifier`), sent as `Authorization: Bearer ...`. Some routes also take
`user` and `token` from the body, where the original's operators send them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, Protocol, TypeVar, cast

import msgspec

from shared.auth.principal import OPERATE, READ, Principal
from shared.auth.tokens import TokenFile
from shared.config import AuthConfig
from shared.decoding import json_decoder
from shared.errors import Forbidden, Unauthenticated

H = TypeVar("H", bound=Callable[..., Any])
Headers = Mapping[str, str]

Scope = str | tuple[str, ...]

OPEN, ANY_PRINCIPAL = "open", "known"  # requirements that are no scopes: none; any valid credentials

_FINGERPRINT = re.compile(r"sha256:[0-9a-f]{12}")


class Requirement(NamedTuple):
    """The requirement of a route.

    Attributes:
        scope: a scope, OPEN or ANY_PRINCIPAL; several scopes, of which one suffices; or a function that returns either
            for the request's headers.
        by_body: whether `user` and `token` in the body count as credentials.
    """

    scope: Scope | Callable[[Headers], Scope]
    by_body: bool = False


_BY_METHOD = {"GET": Requirement(READ), "HEAD": Requirement(READ)}
_OTHERWISE = Requirement(OPERATE)


def requires(scope: Scope | Callable[[Headers], Scope], *, by_body: bool = False) -> Callable[[H], H]:
    """Declare the requirement of a handler. Without a declaration GET requires `read`, other methods `operate`."""

    def declare(handler: H) -> H:
        cast(Any, handler).requirement = Requirement(scope, by_body)
        return handler

    return declare


def requirement_of(handler: object, method: str) -> Requirement:
    """The declared requirement of a handler, or its method's."""
    return getattr(handler, "requirement", None) or _BY_METHOD.get(method, _OTHERWISE)


class Credentialed(Protocol):
    """A request, such as `web.Request`. The guard sets the last three.

    `authorization` is the header that proves the principal to the next function.
    """

    method: str
    headers: Headers
    body: bytes
    principal: Principal | None
    authorization: str
    guard: Guard | None


class _Body(msgspec.Struct):
    user: str
    token: str


class Guard:
    """Admits or refuses requests. Safe to use from several threads.

    Raises, when made:
        ConfigError: a file named in `config` cannot be read.
    """

    def __init__(self, config: AuthConfig) -> None:
        self._public_read = config.public_read
        self._tokens = TokenFile(config.tokens)
        self._jwt_principal: Callable[[str], Principal] | None = None
        if config.users or config.events:
            from shared.auth.jwt_verifier import JwtVerifier  # only here, because PyJWT loads cryptography

            self._jwt_principal = JwtVerifier(config).principal

    def authenticate(self, handler: object, request: Credentialed) -> None:
        """Authenticate a request by its headers, before its body is read.

        A request without credentials is left to `authenticate_by_body` where the route allows that.

        Raises:
            Unauthenticated, Forbidden: not admitted.
            SigningKeysUnavailable: a JWT cannot be verified now.
        """
        request.guard = self
        requirement = requirement_of(handler, request.method)
        scope = self.scope(requirement, request.headers)
        authorization = request.headers.get("authorization", "")
        if scope == OPEN or (requirement.by_body and not authorization):
            return
        kind, _, secret = authorization.partition(" ")
        if kind.lower() != "bearer":
            raise Unauthenticated("send credentials as Authorization: Bearer <token>")
        secret = secret.strip()
        is_jwt = self._jwt_principal is not None and secret.count(".") == 2
        principal = self._jwt_principal(secret) if self._jwt_principal and is_jwt else self._tokens.principal(secret)
        request.principal, request.authorization = _require(principal, scope), authorization

    def authenticate_by_body(self, handler: object, request: Credentialed) -> None:
        """Authenticate a request by `user` and `token` in its body, where the route allows that and no header did.

        Raises:
            Unauthenticated, Forbidden: not admitted.
        """
        requirement = requirement_of(handler, request.method)
        if not requirement.by_body or request.principal is not None:
            return
        try:
            credentials = json_decoder(_Body).decode(request.body)
        except (ValueError, RecursionError):
            raise Unauthenticated(
                "send credentials as Authorization: Bearer <token>, or as `user` and `token` in the body"
            ) from None
        principal = self._tokens.principal(credentials.token)
        if principal.name != credentials.user:
            raise Unauthenticated("unknown credentials")
        request.principal = _require(principal, self.scope(requirement, request.headers))
        request.authorization = f"Bearer {credentials.token}"

    def scope(self, requirement: Requirement, headers: Headers) -> Scope:
        """The scope that a requirement means for a request with these headers."""
        scope = requirement.scope(headers) if callable(requirement.scope) else requirement.scope
        return OPEN if scope == READ and self._public_read else scope


def _require(principal: Principal, scope: Scope) -> Principal:
    accepted = (scope,) if isinstance(scope, str) else scope
    if scope not in (OPEN, ANY_PRINCIPAL) and principal.scopes.isdisjoint(accepted):
        raise Forbidden(f"{principal.name} needs the scope `{'` or `'.join(accepted)}` for this")
    return principal


def authorize(handler: object, request: Credentialed) -> None:
    """Check that a request admitted to one handler may be passed to another.

    Raises:
        Unauthenticated, Forbidden: it may not.
    """
    if request.guard is None:
        return
    scope = request.guard.scope(requirement_of(handler, request.method), request.headers)
    if request.principal is not None:
        _require(request.principal, scope)
    elif scope != OPEN:
        raise Unauthenticated("send credentials as Authorization: Bearer <token>")


def recorded_identity(principal: Principal | None, user: str, token: str) -> tuple[str, str]:
    """User and token to record: those in the request if authentication is off, else name and fingerprint.

    A principal that acts on behalf of users names the user. Its token is recorded only if it is a fingerprint, so
    that no secret is.
    """
    if principal is None:
        return user, token
    if principal.acts_on_behalf:
        return user, token if _FINGERPRINT.fullmatch(token) else principal.fingerprint
    return principal.name, principal.fingerprint
