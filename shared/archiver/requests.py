"""Requests to verify a copy or to bring an archive back: durable until they are done; and how far the work has come."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator

import msgspec

from shared.decoding import json_decoder
from shared.trace_context import TraceContext, parse
from shared.volume.layout import Layout
from shared.volume.posix import fsync_directory
from shared.volume.whole_files import atomic_replace, changing

VERIFY, RESTORE = "verify", "restore"

Report = Callable[[str, int, int], None]
"""Called with a step, how much of it is done, and how much there is."""


class Wanted(msgspec.Struct):
    """A request: the archive's name and prefix, `verify` or `restore`, and why it failed; empty while it waits.

    `traceparent` and `tracestate` are its trace, see `trace_context`.
    """

    name: str
    prefix: str
    what: str
    error: str = ""
    traceparent: str = ""
    tracestate: str = ""

    @property
    def trace(self) -> TraceContext | None:
        """The trace, if it has one."""
        return parse(self.traceparent, self.tracestate)


class Progress(msgspec.Struct):
    """The work under way: the archive's name, the step, how much of it is done, and how much there is."""

    name: str
    step: str
    done: int
    of: int


class Requests:
    """The requests on a volume. Safe to use from several threads."""

    def __init__(self, layout: Layout) -> None:
        self._folder = os.path.join(layout.archive_work, "requests")
        self._progress = os.path.join(layout.archive_work, "progress.json")

    def add(self, wanted: Wanted) -> None:
        """Accept a request, durably; it takes the place of an earlier one for the archive.

        Raises:
            Busy, StorageFailed: it is not accepted.
        """
        with changing(self._folder, "keeping the request"):
            self._write(wanted)

    def done(self, wanted: Wanted) -> None:
        """Forget a request that is done, unless another one has taken its place meanwhile.

        Raises:
            Busy, StorageFailed: it stays.
        """
        with changing(self._folder, "keeping the request"):
            if self._is_current(wanted):
                os.unlink(self._path(wanted.prefix))
                fsync_directory(self._folder)

    def fail(self, wanted: Wanted, reason: str) -> None:
        """Keep a request that has failed, with the reason, unless another one has taken its place meanwhile.

        Raises:
            Busy, StorageFailed: it stays as it was.
        """
        with changing(self._folder, "keeping the request"):
            if self._is_current(wanted):
                self._write(msgspec.structs.replace(wanted, error=reason))

    def all(self) -> Iterator[Wanted]:
        """All requests, those that failed too."""
        with contextlib.suppress(FileNotFoundError):
            for name in sorted(os.listdir(self._folder)):
                if name.endswith(".json"):
                    with contextlib.suppress(OSError, msgspec.DecodeError), open(self._path(name[:-5]), "rb") as file:
                        yield json_decoder(Wanted).decode(file.read())

    def waiting(self) -> list[Wanted]:
        """Those that are not done and have not failed."""
        return [one for one in self.all() if not one.error]

    def restores(self) -> Iterator[str]:
        """The names of the archives that are being brought back, or whose return has failed half-way."""
        return (one.name for one in self.all() if one.what == RESTORE)

    def report(self, progress: Progress | None) -> None:
        """Say how far the work has come; it is not durable."""
        with contextlib.suppress(OSError):
            if progress is None:
                os.unlink(self._progress)
                return
            with open(f"{self._progress}.next", "wb") as file:
                file.write(msgspec.json.encode(progress))
            os.replace(f"{self._progress}.next", self._progress)

    def progress(self) -> Progress | None:
        """How far the work has come; None where none is under way."""
        with contextlib.suppress(OSError, msgspec.DecodeError), open(self._progress, "rb") as file:
            return json_decoder(Progress).decode(file.read())
        return None

    def _write(self, wanted: Wanted) -> None:
        atomic_replace(self._path(wanted.prefix), msgspec.json.encode(wanted))

    def _is_current(self, wanted: Wanted) -> bool:
        return any(one == wanted for one in self.all())

    def _path(self, prefix: str) -> str:
        return os.path.join(self._folder, f"{prefix}.json")
