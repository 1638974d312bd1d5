"""Asking a store how far work has come, until the caller has heard enough."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

from gwclient.errors import Unreachable
from gwclient.store import Row

_INTERVAL = 0.5  # seconds


def poll(ask: Callable[[], Row], timeout: float) -> Iterator[Row]:
    """The answers, asked for twice a second. A store that does not answer, such as one that restarts, is waited for.

    Raises:
        Unreachable: it did not answer for `timeout` seconds.
    """
    answered = time.monotonic()
    while True:
        try:
            document = ask()
        except Unreachable:
            if time.monotonic() - answered > timeout:
                raise
        else:
            answered = time.monotonic()
            yield document
        time.sleep(_INTERVAL)
