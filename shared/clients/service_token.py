"""Service token: the credentials of our functions towards each other, from a file."""

from __future__ import annotations

import os

from shared.config.reloading import ReloadingFile


class ServiceToken:
    """A bearer token from a file that may change; none without a path.

    Args:
        path: of the file.
        variable: the environment variable that names it.
        optional: whether the file may be missing.

    Raises:
        ConfigError: the file cannot be read.
    """

    def __init__(self, path: str, variable: str = "AUTH_SERVICE_TOKEN", *, optional: bool = False) -> None:
        exists = bool(path) and (not optional or os.path.exists(path))
        self._token = ReloadingFile(variable, path, _parse) if exists else None

    def headers(self) -> dict[str, str]:
        """The Authorization header; empty without a token."""
        return {"Authorization": f"Bearer {self._token.get()}"} if self._token else {}


def _parse(text: str) -> str:
    token = text.strip()
    if not token or not token.isascii() or not token.isprintable() or " " in token:
        raise ValueError("must hold one token and nothing else")
    return token
