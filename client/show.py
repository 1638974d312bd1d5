"""Progress for people: a bar on a terminal, plain lines in a pipe."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

_EVERY = 2.0  # seconds between two lines


@contextmanager
def progress(what: str, done: int, count: int) -> Iterator[Callable[[str], None]]:
    """Show how a stream proceeds; yields a function to call with "" for every segment and with what is to be said."""
    if sys.stderr.isatty():
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("segments"))
        with Progress(*columns, TimeRemainingColumn(), console=Console(stderr=True)) as bar:
            task = bar.add_task(what, total=count, completed=done)

            def show(text: str) -> None:
                if text:
                    bar.console.print(text, highlight=False, markup=False)
                else:
                    bar.advance(task)

            yield show
    else:
        yield _lines(what, done, count)


def _lines(what: str, done: int, count: int) -> Callable[[str], None]:
    last = time.monotonic()

    def show(text: str) -> None:
        nonlocal done, last
        if not text:
            done += 1
            if done < count and time.monotonic() - last < _EVERY:
                return
            last = time.monotonic()
        print(text or f"{what}: {done}/{count} segments", file=sys.stderr, flush=True)

    return show
