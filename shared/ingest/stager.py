"""Staging a group's payloads as files: a few right here, many by a process of its own while the spool is synced.

A file takes three short system calls, and after each the intake's thread waits for the interpreter, which the event
loop keeps: for 32 files that came to four times what the calls take. The other process (`stager_job`) has an
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
from shared.volume.layout import Volume

log = logging.getLogger(__name__)

_PATIENCE = 30.0  # seconds that it may take; then the files are made here after all
_COMMAND = [sys.executable, "-I", "-S", str(Path(__file__).with_name("stager_process.py"))]


class Stager:
    """Stages one group at a time, for one spool. Not thread-safe."""

    def __init__(self, volume: Volume) -> None:
        self._volume = volume
        self._threshold = volume.config.stager_threshold  # for fewer, waking another process costs more than it saves
        self._process: subprocess.Popen[bytes] | None = None
        self._group: Sequence[tuple[str, int, bytes]] = ()
        self._awaiting_reply = False  # a question to the process is open
        self._results: list[StorageFailed | None] = []

    def start(self, group: Sequence[tuple[str, int, bytes]]) -> None:
        """Begin to stage a group: spool, offset and payload of each. They lie one after another in one spool."""
        if self._awaiting_reply:  # and nobody waited for the answer, which must not be taken for the next one
            self.close()
        self._group = group
        self._awaiting_reply = len(group) >= self._threshold and self._send()
        if not self._awaiting_reply:
            self._results = self._stage()
        failpoint("spool.staged")

    def finish(self) -> list[StorageFailed | None]:
        """For each payload whose staging has been started None, or why it could not be staged."""
        if self._awaiting_reply and not self._receive():
            log.error("the stager does not answer: its files are made here")
            self.close()
            for spool, at, _ in self._group:
                self._volume.discard(spool, at)
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
                self._volume.stage(*member)
                results.append(None)
            except StorageFailed as error:
                results.append(error)
        return results

    def _send(self) -> bool:
        spool, at, _ = self._group[0]
        path = os.fsencode(self._volume.spool_path(spool))
        stem = os.fsencode(self._volume.staged(spool, ""))
        sizes = [len(payload) for _, _, payload in self._group]
        numbers = struct.pack(f"<{len(sizes) + 1}Q", at, *sizes)
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
        output, answer = self._process.stdout.fileno(), b""
        waiting = select.poll()
        waiting.register(output, select.POLLIN)
        while len(answer) < len(self._group):
            ready = waiting.poll(_PATIENCE * 1000)
            more = os.read(output, len(self._group) - len(answer)) if ready else b""
            if not more:
                return False
            answer += more
        self._awaiting_reply = False
        self._results = [StorageFailed(f"staging a segment: {os.strerror(n)}") if n else None for n in answer]
        return True
