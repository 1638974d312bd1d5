"""The progress of a stream, or of other work, on standard error: a bar on a terminal, plain lines in a pipe."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)
from rich.progress import Progress as RichProgress

_LINE_INTERVAL = 2.0  # seconds between two lines in a pipe


class Progress(Protocol):
    """A display of progress."""

    def advance(self) -> None:
        """Count one more."""

    def show(self, done: int, count: int) -> None:
        """Show that `done` of `count` are done."""

    def message(self, text: str) -> None:
        """Show a text."""

    def close(self) -> None:
        """Show no more of it, because others follow."""


Displays = Callable[[str, int, int], Progress]
"""Makes a display of a name, of whose units so many are done, of so many."""


@contextmanager
def progress(name: str, done: int, count: int, unit: str = "segments") -> Iterator[Progress]:
    """Display the progress of `name`, `done` of whose `count` units are done."""
    with displays(unit) as display:
        yield display(name, done, count)


@contextmanager
def displays(unit: str) -> Iterator[Displays]:
    """Display the progress of several things, also at once."""
    if not sys.stderr.isatty():
        yield lambda name, done, count: _Lines(name, done, count, unit)
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn(unit))
    with RichProgress(*columns, TimeRemainingColumn(), console=Console(stderr=True)) as bar:
        yield lambda name, done, count: _Bar(bar, bar.add_task(name, total=count, completed=done))


@contextmanager
def byte_progress(name: str) -> Iterator[Callable[[int, int | None], object]]:
    """Display the progress of a download; call the result with the bytes that are there, and their number if known."""
    if not sys.stderr.isatty():
        yield _ByteLines(name).show
        return
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with RichProgress(*columns, TimeRemainingColumn(), console=Console(stderr=True)) as bar:
        task = bar.add_task(name, total=None)
        yield lambda done, size: bar.update(task, completed=done, total=size)


class _ByteLines:
    def __init__(self, name: str) -> None:
        self._name = name
        self._last = time.monotonic()

    def show(self, done: int, size: int | None) -> None:
        if (now := time.monotonic()) - self._last >= _LINE_INTERVAL:
            self._last = now
            of = "" if size is None else f" of {size}"
            print(f"{self._name}: {done}{of} bytes", file=sys.stderr, flush=True)


class _Bar:
    def __init__(self, bar: RichProgress, task: TaskID) -> None:
        self._bar = bar
        self._task = task

    def advance(self) -> None:
        self._bar.advance(self._task)

    def show(self, done: int, count: int) -> None:
        self._bar.update(self._task, completed=done, total=count)

    def message(self, text: str) -> None:
        self._bar.console.print(text, highlight=False, markup=False)

    def close(self) -> None:
        done = next(task for task in self._bar.tasks if task.id == self._task)
        self._bar.remove_task(self._task)
        self.message(f"{done.description}: all of {done.total} sent")


class _Lines:
    def __init__(self, name: str, done: int, count: int, unit: str) -> None:
        self._name = name
        self._done = done
        self._count = count
        self._unit = unit
        self._last = time.monotonic()

    def advance(self) -> None:
        self.show(self._done + 1, self._count)

    def show(self, done: int, count: int) -> None:
        if (done, count) == (self._done, self._count):
            return
        self._done, self._count = done, count
        now = time.monotonic()
        if self._done == self._count or now - self._last >= _LINE_INTERVAL:
            self._last = now
            self.message(f"{self._name}: {self._done}/{self._count} {self._unit}")

    def message(self, text: str) -> None:
        print(text, file=sys.stderr, flush=True)

    def close(self) -> None:
        pass
