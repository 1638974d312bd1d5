"""Staging a group's payloads as files: few in this process, many in a process of their own while the spool is synced.

A file takes three short system calls, and after each the ingest thread waits for the interpreter lock, which the event
loop holds. For 32 files this wait was four times as long as the calls. The other process (`stager_process`) has an
interpreter to itself, and reads the payloads from the spool.
"""

from __future__ import annotations

import contextlib
import logging
import os
import select
import struct
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from shared.errors import StorageFailed
from shared.failpoints import failpoint
from shared.volume.spool import SpoolDirectory

log = logging.getLogger(__name__)

_TIMEOUT = 30.0  # seconds for the process to stage a group; then this process stages it
_COMMAND = [sys.executable, "-I", "-S", str(Path(__file__).with_name("stager_process.py"))]


class Stager:
    """Stages one group at a time, for one spool. Not thread-safe.

    Args:
        spool: the volume's spool directory.
        threshold: groups of so many payloads or more go to the process; for fewer, waking it costs more than it saves.
    """

    def __init__(self, spool: SpoolDirectory, threshold: int) -> None:
        self._spool = spool
        self._threshold = threshold
        self._process: subprocess.Popen[bytes] | None = None
        self._group: Sequence[tuple[str, int, bytes]] = ()
        self._awaiting_reply = False
        self._results: list[StorageFailed | None] = []

    def start(self, group: Sequence[tuple[str, int, bytes]], *, contiguous: bool = True) -> None:
        """Begin to stage a group: spool, offset and payload of each, in one spool.

        The process reads them from there, so it takes only those that lie one after another.
        """
        if self._awaiting_reply:  # a reply left unread would be mistaken for the next one
            self.close()
        self._group = group
        self._awaiting_reply = contiguous and len(group) >= self._threshold and self._send()
        if not self._awaiting_reply:
            self._results = self._stage()
        failpoint("spool.staged")

    def finish(self) -> list[StorageFailed | None]:
        """For each payload of the group None, or the reason why it could not be staged."""
        if self._awaiting_reply and not self._receive():
            log.error("the stager process does not answer: this process stages the files")
            self.close()
            for spool, offset, _ in self._group:
                self._spool.discard(spool, offset)
            self._results = self._stage()
        results, self._results, self._group = self._results, [], ()
        return results

    def close(self) -> None:
        """End the process."""
        self._awaiting_reply = False
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.communicate()

    def _stage(self) -> list[StorageFailed | None]:
        results: list[StorageFailed | None] = []
        for member in self._group:
            try:
                self._spool.stage(*member)
                results.append(None)
            except StorageFailed as error:
                results.append(error)
        return results

    def _send(self) -> bool:
        spool, offset, _ = self._group[0]
        path = os.fsencode(self._spool.file(spool))
        stem = os.fsencode(self._spool.staged(spool, ""))
        sizes = [len(payload) for _, _, payload in self._group]
        numbers = struct.pack(f"<{len(sizes) + 1}Q", offset, *sizes)
        head = struct.pack("<III", len(path), len(stem), len(sizes))
        with contextlib.suppress(OSError):  # it cannot be started, or has died
            if self._process is None:
                self._process = subprocess.Popen(  # noqa: S603
                    _COMMAND, bufsize=0, stdin=subprocess.PIPE, stdout=subprocess.PIPE
                )
            assert self._process.stdin is not None
            self._process.stdin.write(head + path + stem + numbers)
            return True
        self.close()
        return False

    def _receive(self) -> bool:
        assert self._process is not None
        assert self._process.stdout is not None
        output, reply = self._process.stdout.fileno(), b""
        poll = select.poll()
        poll.register(output, select.POLLIN)
        while len(reply) < len(self._group):
            ready = poll.poll(_TIMEOUT * 1000)
            more = os.read(output, len(self._group) - len(reply)) if ready else b""
            if not more:
                return False
            reply += more
        self._awaiting_reply = False
        self._results = [StorageFailed(f"staging a segment: {os.strerror(n)}") if n else None for n in reply]
        return True
