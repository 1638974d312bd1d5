"""JWTs as credentials: signature, issuer, audience and times checked by PyJWT, scopes read as the field writes them.

People's tokens carry scopes as in the WLCG Common JWT Profile 1.0 (`storage.read:/path`) or SciTokens (`read:/path`),
or plainly (`read`). A scope counts where its path is the store's (AUTH_PATH), or above it. Event deliveries carry
tokens that Kubernetes made for Knative's triggers and sources: no scopes, but subjects that are listed.
"""

from __future__ import annotations

import fnmatch
import hashlib
import logging
import threading
import time
from collections.abc import Callable, Mapping

import jwt

from shared.auth.principal import OPERATE, READ, WRITE, Principal
from shared.clients import http
from shared.config import AuthConfig, Issuer
from shared.config.reloading import ReloadingFile
from shared.errors import Busy, SigningKeysUnavailable, Unauthenticated

log = logging.getLogger(__name__)

Keys = Mapping[str, jwt.PyJWK]

# Signatures with a public key only: with a shared one, whoever can check tokens can make them.
_ALGORITHMS = ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"]
_LEEWAY = 30  # seconds by which clocks may differ
_SCOPES_BY_CLAIM = {
    "storage.read": {READ},
    "storage.create": {WRITE},
    "storage.modify": {WRITE, OPERATE},  # what may overwrite and delete includes what may create
    "read": {READ},
    "write": {WRITE},
    "operate": {OPERATE},
}


class JwtVerifier:
    """Tells callers by their JWTs. Safe to use from several threads, and never waits for an issuer."""

    def __init__(self, trust: AuthConfig) -> None:
        self._trust = trust
        self._checks: list[
            tuple[Callable[[str], Mapping[str, object]], Callable[[Mapping[str, object]], Principal]]
        ] = []
        if trust.users:
            self._checks.append((_IssuerVerifier(trust.users).claims, self._person))
        if trust.events:
            self._checks.append((_IssuerVerifier(trust.events).claims, self._sender))

    def principal(self, token: str) -> Principal:
        """Who the token speaks of.

        Raises:
            Unauthenticated: it is not one that is believed here.
            KeysMissing: that cannot be told yet.
        """
        refusal: Exception = Unauthenticated("unknown credentials")
        for claims, read in self._checks:
            try:
                caller = read(claims(token))
            except (Unauthenticated, SigningKeysUnavailable) as error:
                refusal = error
            else:
                return caller._replace(fingerprint=f"sha256:{hashlib.sha256(token.encode()).hexdigest()[:12]}")
        raise refusal

    def _person(self, claims: Mapping[str, object]) -> Principal:
        return Principal(str(claims["sub"]), scopes_in(claims.get("scope"), self._trust.path), "")

    def _sender(self, claims: Mapping[str, object]) -> Principal:
        subject = str(claims["sub"])
        if not any(fnmatch.fnmatchcase(subject, known) for known in self._trust.event_subjects):
            raise Unauthenticated("the token's subject may not deliver events")
        return Principal(subject, frozenset((WRITE, OPERATE)), "", acts_on_behalf=True)


def scopes_in(claim: object, path: str) -> frozenset[str]:
    """Our scopes in a `scope` claim, for a store at `path`; words that are not known count for nothing."""
    words = claim.split() if isinstance(claim, str) else []
    found: set[str] = set()
    for word in words:
        name, colon, where = word.partition(":")
        if _covers(where, path) if colon else not name.startswith("storage."):
            found |= _SCOPES_BY_CLAIM.get(name, set())
    return frozenset(found)


def _covers(where: str, path: str) -> bool:
    parts = where.split("/")
    if not where.startswith("/") or ".." in parts or "." in parts:
        return False
    folder = where.rstrip("/")
    return path == folder or path.startswith(f"{folder}/")


class _IssuerVerifier:
    """The claims of one issuer's tokens."""

    def __init__(self, issuer: Issuer) -> None:
        self._issuer = issuer
        self._keys = _remote(issuer.jwks) if "://" in issuer.jwks else _local(issuer.jwks)

    def claims(self, token: str) -> Mapping[str, object]:
        try:
            kid = jwt.get_unverified_header(token).get("kid", "")
            claims: Mapping[str, object] = jwt.decode(
                token,
                self._key(kid),
                algorithms=_ALGORITHMS,
                issuer=self._issuer.issuer,
                audience=self._issuer.audiences,
                leeway=_LEEWAY,
                options={"require": ["exp", "iss", "aud", "sub"]},
            )
        except jwt.PyJWTError as error:
            raise Unauthenticated(f"the token is not valid here: {type(error).__name__}") from None
        return claims

    def _key(self, kid: str) -> jwt.PyJWK:
        keys = self._keys(kid)
        if not keys:
            raise SigningKeysUnavailable("The issuer's keys have not been read yet.")
        if kid not in keys:
            raise Unauthenticated("the token is signed with an unknown key")
        return keys[kid]


def _local(path: str) -> Callable[[str], Keys]:
    file = ReloadingFile(path, _read)
    return lambda kid: file.get()


def _read(text: str) -> Keys:
    try:
        keys = jwt.PyJWKSet.from_json(text).keys
    except jwt.PyJWTError as error:
        raise ValueError(f"not a JWKS: {error}") from None
    return {key.key_id or "": key for key in keys}


def _remote(url: str) -> Callable[[str], Keys]:
    return _RemoteKeys(url).get


class _RemoteKeys:
    """The keys at a URL, asked for in the background: every few minutes, and sooner where an unknown one is used."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._keys: Keys = {}
        self._lock = threading.Lock()
        self._asked = -1e9
        self.get("")

    def get(self, kid: str) -> Keys:
        age = time.monotonic() - self._asked
        if age > 300 or (age > 10 and kid not in self._keys):  # so nobody's inventions make us ask all the time
            with self._lock:
                due, self._asked = time.monotonic() - self._asked > 10, time.monotonic()
            if due:
                threading.Thread(target=self._ask, daemon=True).start()
        return self._keys

    def _ask(self) -> None:
        try:
            answer = http.request("GET", self._url, {}, None, 10)
            if answer.status != 200:
                raise ValueError(f"answers {answer.status}")
            self._keys = _read(answer.body.decode())
        except (Busy, ValueError) as error:
            log.error("%s: %s; the keys known before stay in force", self._url, error)
