"""Memory budget for request bodies: each is bounded, and so is their sum in this process."""

from __future__ import annotations

import threading

from shared.config import Limits
from shared.errors import BodyTooLarge, Busy


class BodyBudget:
    """Memory for the bodies in flight, from their first byte to their answer. Safe to use from several threads."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self._reserved = 0
        self._lock = threading.Lock()

    def change(self, size: int) -> None:
        """Reserve `size` bytes, or return them if negative.

        Raises:
            Busy: the bodies of other requests use the budget.
        """
        with self._lock:
            if size > 0 and self._reserved + size > self.limits.total_bodies:
                raise Busy("The bodies of other requests use all memory for bodies; send it again.")
            self._reserved += size


class Reservation:
    """One request's share of a budget."""

    __slots__ = ("_budget", "_size")

    def __init__(self, budget: BodyBudget) -> None:
        self._budget = budget
        self._size = 0

    def reserve(self, size: int) -> None:
        """Grow to a body of `size` bytes; a smaller size changes nothing.

        Raises:
            BodyTooLarge: no body may be that long.
            Busy: the bodies of other requests use the budget.
        """
        if size > self._budget.limits.body:
            raise BodyTooLarge(f"the body must have at most {self._budget.limits.body} bytes")
        if size > self._size:
            self._budget.change(size - self._size)
            self._size = size

    def release(self) -> None:
        """Return all of it."""
        if self._size:
            self._budget.change(-self._size)
            self._size = 0
