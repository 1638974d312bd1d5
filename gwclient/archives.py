"""Copies of archives that lie elsewhere: downloaded, verified, and brought back to the store's volume."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from gwclient.datasets import fetch
from gwclient.errors import Refused
from gwclient.polling import poll
from gwclient.store import Store

Show = Callable[[int, int], None]
"""Takes how much is done, and of how much."""


def wait_for(store: Store, name: str, what: str, show: Show, timeout: float) -> str:
    """Have a copy verified or restored, and wait for it; return a text about it.

    A store that does not answer, such as one that restarts, is waited for.

    Args:
        store: the store.
        name: of the archive.
        what: `verify` or `restore`.
        show: called with the progress.
        timeout: seconds without an answer after which to give up.

    Raises:
        Refused: it cannot be done; the text says why.
        Unreachable: the store did not answer for `timeout` seconds.
    """
    store.order_copy(name, what)
    for document in poll(lambda: store.copy_of(name), timeout):
        wanted = document.get("wanted")
        if not isinstance(wanted, dict):
            break
        if wanted.get("error"):
            raise Refused(f"{what} {name}: {wanted['error']}")
        if isinstance(work := document.get("work"), dict):
            show(int(work["done"]), int(work["of"]))
    if document.get("lost"):
        raise Refused(f"{name}: {document['lost']}")
    return f"the copy is what was put there, {document.get('copied')}" if what == "verify" else "back on the volume"


def download(store: Store, name: str, folder: Path, show: Show) -> Path:
    """Download the objects of a copy into a folder of its prefix; what is there already and right is kept.

    The manifest comes last, so that a folder with one is whole.

    Raises:
        Refused: there is no such archive, or no copy of it.
        Unreachable: what arrived is not what the manifest lists, or the store does not answer; call again to go on.
    """
    document = store.copy_of(name)
    entries: list[dict[str, Any]] = document.get("objects") or []
    if not entries:
        raise Refused(f"{name} has not been copied yet")
    prefix = str(document["prefix"])
    if "/" in prefix or prefix in ("", ".", ".."):
        raise Refused(f"the store names a folder {prefix!r}, which is no name of one")
    target = folder / prefix
    total, there = sum(entry["size"] for entry in entries), 0

    def part(file: str, start: int, stop: int) -> bytes:
        return store.copy_part(name, file, start, stop)

    for entry in [*entries, document["manifest"]]:
        fetch(part, entry, target, lambda done, there=there: show(there + done, total))  # type: ignore[misc]
        there += entry["size"]
    show(total, total)
    return target
