"""TCP ports for test servers."""

from __future__ import annotations

import contextlib
import os
import random
import socket

PORTS = range(10_000, 32_000, 100)  # first ports of blocks, below what the kernel gives to outgoing connections


class _Ports:
    """Ports for servers that may not be listening yet, or not at the moment: no two processes get the same one.

    They are taken from blocks. A block belongs to the process that has bound its first port for UDP, which nothing
    else uses here: the kernel knows of every process on the machine, and frees the block with the process.
    """

    def __init__(self) -> None:
        self._left: list[int] = []
        self._reservations: list[socket.socket] = []
        self._owner = 0

    def take(self) -> int:
        """A port on which nobody listens, given once."""
        if self._owner != os.getpid():  # a forked process must not share its parent's block
            self._owner, self._left, self._reservations = os.getpid(), [], []
        while True:
            if not self._left:
                self._left = self._reserve()
            port = self._left.pop()
            with socket.socket() as listener:
                listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                with contextlib.suppress(OSError):
                    listener.bind(("127.0.0.1", port))
                    return port

    def _reserve(self) -> list[int]:
        for first in random.SystemRandom().sample(PORTS, len(PORTS)):
            reservation = socket.socket(type=socket.SOCK_DGRAM)
            try:
                reservation.bind(("127.0.0.1", first))
            except OSError:
                reservation.close()
                continue
            self._reservations.append(reservation)
            return list(range(first + PORTS.step - 1, first - 1, -1))
        raise AssertionError("no free ports: too many test runs on this machine")


free_port = _Ports().take
