"""The token that goes with requests to a store, as WLCG Bearer Token Discovery finds it where one is named."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from client.errors import Refused


def headers(env: Mapping[str, str] = os.environ) -> dict[str, str]:
    """The header with the token in BEARER_TOKEN, or in the file that BEARER_TOKEN_FILE names; none without either.

    The places where the convention goes on to look are left out: a token is sent where somebody said so.

    Raises:
        Refused: the file cannot be read.
    """
    token = env.get("BEARER_TOKEN", "")
    if not token and (path := env.get("BEARER_TOKEN_FILE")):
        try:
            token = Path(path).read_text()
        except OSError as error:
            raise Refused(f"BEARER_TOKEN_FILE={path}: {error.strerror}") from None
    return {"Authorization": f"Bearer {token.strip()}"} if token.strip() else {}
