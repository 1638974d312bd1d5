"""Tokens: random secrets, of which a file holds the SHA-256 with a name and scopes.

A fast hash is enough, because tokens are long and random.
"""

from __future__ import annotations

import hashlib
import hmac
import re

from shared.auth.principal import OF_SERVICE, SCOPES, SERVICE, Principal, fingerprint_of
from shared.config.reloading import ReloadingFile
from shared.errors import Unauthenticated

_LINE = re.compile(r"sha256:([0-9a-f]{64})\s+(\S{1,256})\s+(\S+)")


class TokenFile:
    """Accepted tokens, from a file that may change; none without a path. Safe to use from several threads.

    Raises, when made:
        ConfigError: the file cannot be read.
    """

    def __init__(self, path: str) -> None:
        self._entries = ReloadingFile("AUTH_TOKENS", path, read_tokens) if path else None

    def principal(self, token: str) -> Principal:
        """The principal of a token. Raises Unauthenticated."""
        digest = hashlib.sha256(token.encode(errors="surrogatepass")).digest()
        found: Principal | None = None
        for known, principal in self._entries.get() if self._entries else ():
            if hmac.compare_digest(known, digest):  # without a break, so that the time does not depend on the entry
                found = principal
        if found is None:
            raise Unauthenticated("unknown credentials")
        return found


def read_tokens(text: str) -> list[tuple[bytes, Principal]]:
    """Parse a token file: lines `sha256:<hex> name scope,scope`, empty lines, and comments after `#`.

    Returns:
        SHA-256 and principal of each token.

    Raises:
        ValueError: a line is none of these; the text names the line and does not quote it.
    """
    entries = []
    for number, line in enumerate(text.splitlines(), 1):
        content = line.partition("#")[0].strip()
        if not content:
            continue
        found = _LINE.fullmatch(content)
        scopes = frozenset(found[3].split(",")) if found else frozenset()
        if SERVICE in scopes:
            scopes = scopes - {SERVICE} | OF_SERVICE
        if not found or not scopes <= SCOPES:
            raise ValueError(f"line {number}: must be `sha256:<64 hex digits> name scope,scope`")
        principal = Principal(found[2], scopes, fingerprint_of(found[1]))
        entries.append((bytes.fromhex(found[1]), principal))
    return entries
