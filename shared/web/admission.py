"""Room in memory for the bodies of requests under way: each is bounded, and so are all of them together."""

from __future__ import annotations

import threading

from shared.config import Limits
from shared.errors import BodyTooLarge, Busy


class BodyBudget:
    """What one process holds of bodies, from their first byte until they are answered. Safe to use from several
    threads.
    """

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self._held = 0
        self._lock = threading.Lock()

    def change(self, by: int) -> None:
        """Take or give back so many bytes.

        Raises:
            Busy: other requests' bodies leave no room.
        """
        with self._lock:
            if by > 0 and self._held + by > self.limits.total_bodies:
                raise Busy("The bodies of other requests fill the memory there is for them.")
            self._held += by


class Reservation:
    """One request's part of a room."""

    __slots__ = ("budget", "length")

    def __init__(self, room: BodyBudget) -> None:
        self.budget = room
        self.length = 0

    def reserve(self, length: int) -> None:
        """Take room for a body of `length` bytes, unless so much is held already.

        Raises:
            BodyTooLarge: no body may be that long.
            Busy: it may, and there is no room now.
        """
        if length > self.budget.limits.body:
            raise BodyTooLarge(f"the body is longer than {self.budget.limits.body} bytes")
        if length > self.length:
            self.budget.change(length - self.length)
            self.length = length

    def release(self) -> None:
        """Give all of it back."""
        if self.length:
            self.budget.change(-self.length)
            self.length = 0
