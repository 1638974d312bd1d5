"""Memory budget for request bodies: bounds their sum in this process."""

from __future__ import annotations

import threading

from shared.errors import Busy

_BUSY = "The bodies of other requests use all memory for bodies; send it again."


class BodyBudget:
    """Memory for the bodies in flight, from their first byte to their answer. Safe to use from several threads.

    Bytes are counted as they arrive, because a declared length costs its sender nothing.

    Args:
        size: of all bodies together, bytes.
        unknown_size: of the bodies of requests without credentials, bytes. The rest is kept for principals.
    """

    def __init__(self, size: int, unknown_size: int) -> None:
        self._size = size
        self._unknown_size = unknown_size
        self._used = 0
        self._used_by_unknown = 0
        self._lock = threading.Lock()

    def change(self, size: int, known: bool) -> None:
        """Take `size` bytes for the body of a request, or return them if negative.

        Args:
            size: bytes.
            known: whether the request has credentials, or needs none because authentication is off.

        Raises:
            Busy: the bodies of other requests use the budget.
        """
        with self._lock:
            if not known:
                if size > 0 and self._used_by_unknown + size > self._unknown_size:
                    raise Busy(_BUSY)
                self._used_by_unknown += size
            if size > 0 and self._used + size > self._size:
                if not known:
                    self._used_by_unknown -= size
                raise Busy(_BUSY)
            self._used += size

    def check(self, size: int) -> None:
        """Raise Busy if a body of `size` bytes would not fit now. Takes nothing."""
        if self._used + size > self._size:
            raise Busy(_BUSY)
