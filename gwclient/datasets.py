"""Training sets of a store: having them made, and downloading them, each file once across interruptions."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from gwclient.errors import ClientError, Refused, Unreachable
from gwclient.polling import poll
from gwclient.store import Row, Store

CHUNK = 8 << 20  # bytes of a file in one request
MANIFEST = "manifest.json"

Show = Callable[[int, int], None]
"""Takes how much is done, and of how much."""


def wait_for(store: Store, name: str, show: Show, timeout: float) -> Row:
    """Wait until a set is there; return its manifest.

    A store that does not answer, such as one that restarts, is waited for.

    Args:
        store: the store.
        name: of the set.
        show: called with the progress.
        timeout: seconds without an answer after which to give up.

    Raises:
        Refused: the set cannot be made, or is gone.
        Unreachable: the store did not answer for `timeout` seconds.
    """
    for document in poll(lambda: store.dataset(name), timeout):
        state = document.get("state")
        if state == "done":
            return document
        if state == "failed":
            raise Refused(f"the training set {name} cannot be made: {_reason(document)}")
        if state == "working" and document.get("step") == "events":
            show(int(document["done"]), int(document["total"]))
    raise AssertionError("the polling has no end of its own")


def _reason(document: Row) -> str:
    error = document.get("error")
    return f"{error.get('code')} {error.get('body')}" if isinstance(error, dict) else "the store does not say why"


def download(store: Store, name: str, folder: Path, show: Show) -> Path:
    """Download a set into a folder of its name; what is there already and right is kept.

    The manifest comes last, so that a folder with a manifest is whole.

    Args:
        store: the store.
        name: of the set.
        folder: in which the set's folder is made.
        show: called with the bytes that are there.

    Returns:
        The set's folder.

    Raises:
        Refused: there is no such set, or it is not done.
        Unreachable: what arrived is not what the manifest lists, or the store does not answer; call again to go on.
    """
    document = store.dataset(name)
    if document.get("state") != "done":
        raise Refused(f"the training set {name} is not done: {document.get('state')}")
    content = store.dataset_part(name, MANIFEST, 0, 0)
    manifest = msgspec.json.decode(content)
    target = folder / name
    entries: list[dict[str, Any]] = manifest["files"]
    total, there = sum(entry["size"] for entry in entries), 0

    def part(file: str, start: int, stop: int) -> bytes:
        return store.dataset_part(name, file, start, stop)

    for entry in entries:
        fetch(part, entry, target, lambda done, there=there: show(there + done, total))  # type: ignore[misc]
        there += entry["size"]
    place(target / MANIFEST, content)
    show(total, total)
    return target


Part = Callable[[str, int, int], bytes]
"""Gets the bytes of a file from an offset to before another one."""


def fetch(part_of: Part, entry: dict[str, Any], folder: Path, show: Callable[[int], object]) -> Path:
    """Download a file of a manifest, going on where an earlier attempt ended, and verify its checksum.

    Raises:
        Refused: the manifest names a file outside the folder.
        Unreachable: as `download`.
    """
    file, size, checksum = entry["name"], entry["size"], entry["sha256"]
    if file.startswith("/") or {"", ".", ".."} & set(file.split("/")):
        raise Refused(f"the manifest names {file!r}, which is no name of a file below it")
    path: Path = folder / file
    if path.is_file() and path.stat().st_size == size and sha256(path) == checksum:
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{checksum[:16]}.part")
    with part.open("ab") as out:
        done = out.tell()
        while done < size:
            out.write(part_of(file, done, min(done + CHUNK, size)))
            done = out.tell()
            show(done)
    if sha256(part) != checksum:
        part.unlink()
        raise Unreachable(f"{file}: the checksum is not that of the manifest; get it again")
    part.replace(path)
    return path


def sha256(path: Path) -> str:
    """The SHA-256 of a file's content, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def place(path: Path, content: bytes) -> None:
    """Put a file in place in one step."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temp = path.with_name(f".{path.name}.part")
    temp.write_bytes(content)
    temp.replace(path)


def read_request(path: Path, table: Path | None, table_format: str) -> bytes:
    """The request in a file, with the trigger table of another file as its events.

    Raises:
        ClientError: it is no JSON object.
    """
    content = path.read_bytes()
    if table is None:
        return content
    try:
        request = msgspec.json.decode(content, type=dict[str, Any])
    except msgspec.DecodeError as error:
        raise ClientError(f"{path}: {error}") from None
    request["events"] = {"table": {"content": table.read_text(), "format": table_format}}
    return msgspec.json.encode(request)
