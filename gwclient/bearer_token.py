"""The bearer token of requests to a store, found by the first two steps of WLCG Bearer Token Discovery."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from gwclient.errors import Refused

VARIABLES = "BEARER_TOKEN, or BEARER_TOKEN_FILE"


def authorization(env: Mapping[str, str] = os.environ) -> dict[str, str]:
    """The `Authorization` header with the token of BEARER_TOKEN or BEARER_TOKEN_FILE; empty if neither is set.

    The discovery's further steps read files that other programs left behind. They are left out, so that a token is
    sent only where the user asked for it.

    Raises:
        Refused: BEARER_TOKEN_FILE cannot be read, or what was found is no token.
    """
    token = env.get("BEARER_TOKEN", "")
    if not token and (path := env.get("BEARER_TOKEN_FILE")):
        try:
            token = Path(path).read_text()
        except (OSError, UnicodeDecodeError) as error:
            raise Refused(
                f"BEARER_TOKEN_FILE={path}: {getattr(error, 'strerror', None) or 'not a text file'}"
            ) from None
    token = token.strip()
    if any(not "!" <= character <= "~" for character in token):
        raise Refused(f"{VARIABLES}: a token has visible ASCII characters only; it is sent as it is, without `Bearer`")
    return {"Authorization": f"Bearer {token}"} if token else {}
