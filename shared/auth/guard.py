"""Who is asking, and may they: credentials in a request become a `Caller`, and routes say which scope they need.

Two ways in. A *token* is a secret of which a file keeps the SHA-256, with a name and scopes; it is random and long, so
a fast hash is enough. A *JWT* comes from an issuer one believes (see `jwts`). Either is sent as `Authorization:
Bearer ...`; a token also counts in the bodies in which the original's operators send theirs.
"""

from __future__ import annotations

import hashlib
import hmac
import logging
import re
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, Protocol, TypeVar, cast

import msgspec

from shared.auth.principal import OPERATE, READ, SCOPES, SERVICE, WRITE, Principal
from shared.config import AuthConfig
from shared.config.reloading import ReloadingFile
from shared.errors import Forbidden, Unauthenticated

__all__ = ["ANY_PRINCIPAL", "OPEN", "OPERATE", "READ", "SERVICE", "WRITE"]  # in which routes say what they need
__all__ += [
    "Credentialed",
    "Guard",
    "Requirement",
    "authorize",
    "read_tokens",
    "recorded_identity",
    "requirement_of",
    "requires",
]

log = logging.getLogger(__name__)
H = TypeVar("H", bound=Callable[..., Any])
Headers = Mapping[str, str]

OPEN, ANY_PRINCIPAL = "open", "known"  # needs of routes, not scopes: anyone; anyone with credentials

_LINE = re.compile(r"sha256:([0-9a-f]{64})\s+(\S{1,256})\s+(\S+)")
_MARK = re.compile(r"sha256:[0-9a-f]{12}")


class Requirement(NamedTuple):
    """What a route needs: a scope, or a function of the headers that tells it; `by_body` lets credentials in the body
    count.
    """

    scope: str | Callable[[Headers], str]
    by_body: bool = False


_BY_METHOD = {"GET": Requirement(READ), "HEAD": Requirement(READ)}
_OTHERWISE = Requirement(OPERATE)


def requires(scope: str | Callable[[Headers], str], *, by_body: bool = False) -> Callable[[H], H]:
    """Declare what a handler needs; one that declares nothing needs `read` to be got and `operate` for all else."""

    def declare(handler: H) -> H:
        cast(Any, handler).need = Requirement(scope, by_body)
        return handler

    return declare


def requirement_of(handler: object, method: str) -> Requirement:
    """What a handler has declared, or what its method needs."""
    return getattr(handler, "need", None) or _BY_METHOD.get(method, _OTHERWISE)


class Credentialed(Protocol):
    """A request, as `web.Request` has it; `caller` and `guard` are filled in here."""

    method: str
    headers: Headers
    body: bytes
    principal: Principal | None
    guard: Guard | None


def read_tokens(text: str) -> list[tuple[bytes, Principal]]:
    """The entries of a token file: lines `sha256:<hex> name scope,scope`, empty lines, and comments after `#`.

    Raises:
        ValueError: a line is neither; it names the line, and does not quote it.
    """
    entries = []
    for number, line in enumerate(text.splitlines(), 1):
        content = line.partition("#")[0].strip()
        if not content:
            continue
        found = _LINE.fullmatch(content)
        scopes = frozenset(found[3].split(",")) if found else frozenset()
        if not found or not scopes <= SCOPES:
            raise ValueError(f"line {number}: must be `sha256:<64 hex digits> name scope,scope`")
        caller = Principal(found[2], scopes, f"sha256:{found[1][:12]}", acts_on_behalf=SERVICE in scopes)
        entries.append((bytes.fromhex(found[1]), caller))
    return entries


class _Body(msgspec.Struct):
    user: str
    token: str


class Guard:
    """Decides about requests. Safe to use from several threads.

    Raises, when made:
        ConfigError: a file named in `trust` cannot be used.
    """

    def __init__(self, trust: AuthConfig) -> None:
        self._public_read = trust.public_read
        self._tokens = ReloadingFile(trust.tokens, read_tokens) if trust.tokens else None
        self._by_jwt: Callable[[str], Principal] | None = None
        if trust.users or trust.events:
            from shared.auth.jwt_verifier import JwtVerifier  # its library waits until it is wanted

            self._by_jwt = JwtVerifier(trust).principal

    def authenticate(self, handler: object, call: Credentialed) -> None:
        """Find out who is asking, before the body is read: a stranger's never is, unless it may hold the credentials.

        Raises:
            Unauthenticated, Forbidden: they may not ask this.
            KeysMissing: it cannot be told.
        """
        call.guard = self
        need = requirement_of(handler, call.method)
        scope = self.scope(need, call.headers)
        given = call.headers.get("authorization", "")
        if scope == OPEN or (need.by_body and not given):
            return
        kind, _, secret = given.partition(" ")
        if kind.lower() != "bearer":
            raise Unauthenticated("credentials are needed, as Authorization: Bearer <token>")
        secret = secret.strip()
        caller = self._by_jwt(secret) if self._by_jwt and secret.count(".") == 2 else self._by_token(secret)
        call.principal = _allowed(caller, scope)

    def authenticate_by_body(self, handler: object, call: Credentialed) -> None:
        """The same by `user` and `token` in the body, where they may be and nothing else told. Errors as `admit`."""
        need = requirement_of(handler, call.method)
        if not need.by_body or call.principal is not None:
            return
        try:
            given = msgspec.json.decode(call.body, type=_Body)
        except (ValueError, RecursionError):
            raise Unauthenticated("credentials are needed: a header, or `user` and `token` in the body") from None
        caller = self._by_token(given.token)
        if caller.name != given.user:
            raise Unauthenticated("unknown credentials")
        call.principal = _allowed(caller, self.scope(need, call.headers))

    def scope(self, need: Requirement, headers: Headers) -> str:
        """The scope that a need comes to, for a request with these headers."""
        scope = need.scope if isinstance(need.scope, str) else need.scope(headers)
        return OPEN if scope == READ and self._public_read else scope

    def _by_token(self, secret: str) -> Principal:
        digest = hashlib.sha256(secret.encode(errors="surrogatepass")).digest()
        found: Principal | None = None
        for known, caller in self._tokens.get() if self._tokens else ():
            if hmac.compare_digest(known, digest):  # and on to the end, whichever it is
                found = caller
        if found is None:
            raise Unauthenticated("unknown credentials")
        return found


def _allowed(caller: Principal, scope: str) -> Principal:
    if scope not in (OPEN, ANY_PRINCIPAL) and scope not in caller.scopes:
        raise Forbidden(f"{caller.name} may not do this: it takes the scope `{scope}`")
    return caller


def authorize(handler: object, call: Credentialed) -> None:
    """Check that a call which was admitted to one handler may go on to another.

    Raises:
        Unauthenticated, Forbidden: it may not.
    """
    if call.guard is None:
        return
    scope = call.guard.scope(requirement_of(handler, call.method), call.headers)
    if call.principal is not None:
        _allowed(call.principal, scope)
    elif scope != OPEN:
        raise Unauthenticated("credentials are needed")


def recorded_identity(caller: Principal | None, user: str, token: str) -> tuple[str, str]:
    """The user and token to record for a request: what it says itself where nobody was asked who they are.

    Otherwise it is who they are, and their fingerprint, never a secret; one who relays is believed about the user.
    """
    if caller is None:
        return user, token
    if caller.acts_on_behalf:
        return user, token if _MARK.fullmatch(token) else caller.fingerprint
    return caller.name, caller.fingerprint
