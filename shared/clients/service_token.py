"""The token by which one of our functions is known to another: from a file, sent as a header."""

from __future__ import annotations

import os

from shared.config.reloading import ReloadingFile


class ServiceToken:
    """A token of our own, from a file, as a header for those we ask; none without a file.

    Raises:
        ConfigError: the file cannot be read; with `optional` it may be missing.
    """

    def __init__(self, path: str, *, optional: bool = False) -> None:
        there = bool(path) and (not optional or os.path.exists(path))
        self._token = ReloadingFile(path, _printable) if there else None

    def headers(self) -> dict[str, str]:
        """The header, or nothing."""
        return {"Authorization": f"Bearer {self._token.get()}"} if self._token else {}


def _printable(text: str) -> str:
    token = text.strip()
    if not token or not token.isascii() or not token.isprintable() or " " in token:
        raise ValueError("must hold one token and nothing else")
    return token
