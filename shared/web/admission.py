"""Memory budget for request bodies: bounds their sum in this process."""

from __future__ import annotations

import threading

from shared.errors import Busy


class BodyBudget:
    """Memory for the bodies in flight, from their first byte to their answer. Safe to use from several threads.

    Args:
        size: of all bodies together, bytes.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._reserved = 0
        self._lock = threading.Lock()

    def change(self, size: int) -> None:
        """Reserve `size` bytes, or return them if negative.

        Raises:
            Busy: the bodies of other requests use the budget.
        """
        with self._lock:
            if size > 0 and self._reserved + size > self._size:
                raise Busy("The bodies of other requests use all memory for bodies; send it again.")
            self._reserved += size
