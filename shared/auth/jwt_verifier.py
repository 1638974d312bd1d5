"""JWTs as credentials: PyJWT checks signature, issuer, audience and times; the claims become scopes.

Users' tokens carry scopes as in the WLCG Common JWT Profile 1.0 (`storage.read:/path`) or SciTokens (`read:/path`), as
IGWN's (`gwdatafind.read`), or plainly (`read`). A scope counts if its path is the store's (AUTH_PATH) or above it.
Event deliveries carry tokens that Kubernetes makes for Knative's triggers and sources. These have no scopes; their
subjects must be listed.
"""

from __future__ import annotations

import fnmatch
import hashlib
import logging
import threading
import time
from collections.abc import Callable, Mapping

import jwt

from shared.auth.principal import OPERATE, READ, RELAY, WRITE, Principal, fingerprint_of
from shared.clients import http
from shared.config import AuthConfig, Issuer
from shared.config.reloading import ReloadingFile
from shared.errors import SigningKeysUnavailable, Unauthenticated

log = logging.getLogger(__name__)

Claims = Mapping[str, object]
Keys = Mapping[str, jwt.PyJWK]

# Public-key signatures only: a key that both signs and verifies would let every verifier make tokens.
_ALGORITHMS = ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"]
_LEEWAY = 30  # seconds by which clocks may differ
_KEYS_MAX_AGE = 300  # seconds
_KEYS_MIN_AGE = 10  # seconds; made-up key ids cannot trigger a fetch more often
_SCOPES_BY_CLAIM = {
    "storage.read": {READ},
    "storage.create": {WRITE},
    "storage.modify": {WRITE, OPERATE},  # WLCG: overwrite and delete, which includes create
    "read": {READ},
    "write": {WRITE},
    "operate": {OPERATE},
    "gwdatafind.read": {READ},  # IGWN's services for finding data and segments
    "dqsegdb.read": {READ},
    "arrakis.read": {READ},
}


class JwtVerifier:
    """Verifies JWTs of users and of event deliveries. Safe to use from several threads; never waits for an issuer."""

    def __init__(self, config: AuthConfig) -> None:
        self._config = config
        self._kinds: list[tuple[_IssuerVerifier, Callable[[Claims], Principal]]] = []
        if config.users:
            self._kinds.append((_IssuerVerifier(config.users, "AUTH_JWKS"), self._user))
        if config.events:
            self._kinds.append((_IssuerVerifier(config.events, "EVENTS_JWKS"), self._event_delivery))

    def principal(self, token: str) -> Principal:
        """The principal of a token.

        Raises:
            Unauthenticated: no trusted issuer made the token, or it is not valid.
            SigningKeysUnavailable: the issuer's keys are not loaded yet.
        """
        refusal: Exception = Unauthenticated("unknown credentials")
        for issuer, principal_from in self._kinds:
            try:
                principal = principal_from(issuer.claims(token))
            except (Unauthenticated, SigningKeysUnavailable) as error:
                refusal = error
            else:
                return principal._replace(fingerprint=fingerprint_of(hashlib.sha256(token.encode()).hexdigest()))
        raise refusal

    def _user(self, claims: Claims) -> Principal:
        return Principal(str(claims["sub"]), scopes_in(claims.get("scope"), self._config.path), "")

    def _event_delivery(self, claims: Claims) -> Principal:
        subject = str(claims["sub"])
        if not any(fnmatch.fnmatchcase(subject, pattern) for pattern in self._config.event_subjects):
            raise Unauthenticated("the token's subject may not deliver events: EVENTS_SENDERS must list it")
        return Principal(subject, frozenset((WRITE, OPERATE, RELAY)), "")


def scopes_in(claim: object, path: str) -> frozenset[str]:
    """Our scopes in a `scope` claim, for a store at `path`; other words are ignored."""
    words = claim.split() if isinstance(claim, str) else []
    found: set[str] = set()
    for word in words:
        name, colon, prefix = word.partition(":")
        if _covers(prefix, path) if colon else not name.startswith("storage."):
            found |= _SCOPES_BY_CLAIM.get(name, set())
    return frozenset(found)


def _covers(prefix: str, path: str) -> bool:
    parts = prefix.split("/")
    if not prefix.startswith("/") or ".." in parts or "." in parts:
        return False
    folder = prefix.rstrip("/")
    return path == folder or path.startswith(f"{folder}/")


class _IssuerVerifier:
    """Verifies one issuer's tokens; `variable` says where its keys are."""

    def __init__(self, issuer: Issuer, variable: str) -> None:
        self._issuer = issuer
        self._keys = _RemoteKeys(issuer.jwks).get if "://" in issuer.jwks else _local_keys(variable, issuer.jwks)

    def claims(self, token: str) -> Claims:
        try:
            kid = jwt.get_unverified_header(token).get("kid", "")
            claims: Claims = jwt.decode(
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
            raise SigningKeysUnavailable("The issuer's keys are not loaded yet; send it again.")
        if kid not in keys:
            raise Unauthenticated("the token is signed with an unknown key")
        return keys[kid]


def _parse_keys(text: str) -> Keys:
    try:
        keys = jwt.PyJWKSet.from_json(text).keys
    except jwt.PyJWTError as error:
        raise ValueError(f"must be a JWKS: {error}") from None
    return {key.key_id or "": key for key in keys}


def _local_keys(variable: str, path: str) -> Callable[[str], Keys]:
    file = ReloadingFile(variable, path, _parse_keys)
    return lambda kid: file.get()


class _RemoteKeys:
    """Keys from a URL, fetched in the background every few minutes, and sooner if an unknown key id is used."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._keys: Keys = {}
        self._lock = threading.Lock()
        self._fetched = -1e9  # monotonic time of the last fetch
        self.get("")

    def get(self, kid: str) -> Keys:
        age = time.monotonic() - self._fetched
        if age > _KEYS_MAX_AGE or (age > _KEYS_MIN_AGE and kid not in self._keys):
            with self._lock:
                due, self._fetched = time.monotonic() - self._fetched > _KEYS_MIN_AGE, time.monotonic()
            if due:
                threading.Thread(target=self._fetch, daemon=True).start()
        return self._keys

    def _fetch(self) -> None:
        try:
            response = http.request("GET", self._url, {}, None, 10)
            if response.status != 200:
                raise ValueError(f"answers {response.status}")
            self._keys = _parse_keys(response.body.decode())
        except (http.NoResponse, ValueError) as error:
            log.error("%s: %s; the keys loaded before stay in force", self._url, error)
