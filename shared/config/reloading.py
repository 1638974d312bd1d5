"""Files that change under a running process, as mounted secrets do: read again when they have."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable
from typing import Generic, TypeVar

from shared.config.env import ConfigError

log = logging.getLogger(__name__)
T = TypeVar("T")

_EVERY = 1.0  # seconds between two looks at a file


class ReloadingFile(Generic[T]):
    """What a file says; read again when it has changed, which is looked at once a second.

    Args:
        variable: the environment variable that names it.
        path: of the file.
        read: makes its text into what it says; raises ValueError.

    A file that can no longer be read, or not understood, is reported once, and what it said before stays in force.

    Raises, when made:
        ConfigError: there is nothing to begin with; never quotes the file.
    """

    def __init__(self, variable: str, path: str, read: Callable[[str], T]) -> None:
        self._path = path
        self._read = read
        self._due = 0.0
        self._seen: object = None
        try:
            self._load()
        except (OSError, ValueError) as error:
            raise ConfigError(f"{variable}={path!r}: {_reason(error)}") from None

    def get(self) -> T:
        """Its content, at most a second old."""
        if (now := time.monotonic()) >= self._due:
            self._due = now + _EVERY
            try:
                self._load()
            except (OSError, ValueError) as error:
                log.error("%s: %s; what it said before stays in force", self._path, _reason(error))
        return self._value

    def _load(self) -> None:
        found = os.stat(self._path)
        seen = (found.st_mtime_ns, found.st_ino, found.st_size)
        if seen == self._seen:
            return
        self._seen = seen
        with open(self._path, encoding="utf-8") as file:
            self._value = self._read(file.read())


def _reason(error: Exception) -> str:
    return str(error.strerror if isinstance(error, OSError) else error)
