"""The progress of a stream on standard error: a bar on a terminal, plain lines in a pipe."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TaskID, TextColumn, TimeRemainingColumn
from rich.progress import Progress as RichProgress

_LINE_INTERVAL = 2.0  # seconds between two lines in a pipe


class Progress(Protocol):
    """A display of progress."""

    def advance(self) -> None:
        """Count one more stored segment."""

    def message(self, text: str) -> None:
        """Show a text."""


@contextmanager
def progress(name: str, done: int, count: int) -> Iterator[Progress]:
    """Display the progress of the stream `name`, `done` of whose `count` segments are stored."""
    if not sys.stderr.isatty():
        yield _Lines(name, done, count)
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("segments"))
    with RichProgress(*columns, TimeRemainingColumn(), console=Console(stderr=True)) as bar:
        yield _Bar(bar, bar.add_task(name, total=count, completed=done))


class _Bar:
    def __init__(self, bar: RichProgress, task: TaskID) -> None:
        self._bar = bar
        self._task = task

    def advance(self) -> None:
        self._bar.advance(self._task)

    def message(self, text: str) -> None:
        self._bar.console.print(text, highlight=False, markup=False)


class _Lines:
    def __init__(self, name: str, done: int, count: int) -> None:
        self._name = name
        self._done = done
        self._count = count
        self._last = time.monotonic()

    def advance(self) -> None:
        self._done += 1
        now = time.monotonic()
        if self._done == self._count or now - self._last >= _LINE_INTERVAL:
            self._last = now
            self.message(f"{self._name}: {self._done}/{self._count} segments")

    def message(self, text: str) -> None:
        print(text, file=sys.stderr, flush=True)
