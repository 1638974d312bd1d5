"""Verification: the files of a batch compared with its journal, by name and size, and on demand by checksum.

    python -m shared.storage.verification

verifies the open batch and every archive of the store that the environment describes, with checksums, and prints one
line for each file that differs. It writes nothing and may run beside the store.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from typing import NamedTuple

import msgspec

from shared.archives.manifest import Stub, read_stub
from shared.checksum import crc32_of
from shared.config import ConfigError, store_from_env
from shared.decoding import json_decoder
from shared.domain.records import WRITE, Record
from shared.errors import DatastoreError, StorageFailed
from shared.storage import journal
from shared.volume.layout import Layout
from shared.volume.posix import open_beneath, storage_errors
from shared.volume.whole_files import atomic_replace

MAX_NAMES = 10_000  # names in `missing.json`


class Missing(msgspec.Struct):
    """Acknowledged segments of a batch whose files are gone, or have another size than the journal says.

    Attributes:
        batch: number of the batch.
        count: how many segments are missing.
        names: their file names, at most `MAX_NAMES`.
    """

    batch: int
    count: int
    names: list[str]


def publish(layout: Layout, missing: Missing) -> None:
    """Publish the names of missing segments; nothing is published where none is missing.

    Raises:
        StorageFailed: the volume refuses.
    """
    with storage_errors("publishing the names of missing segments"):
        if missing.count:
            missing.names = missing.names[:MAX_NAMES]
            atomic_replace(layout.missing, msgspec.json.encode(missing))
        else:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(layout.missing)


def published(path: str, batch: int) -> Missing | None:
    """The published names of missing segments of this batch."""
    if not os.access(path, os.F_OK):  # nearly always, and cheaper than a refused open
        return None
    try:
        with open(path, "rb") as file:
            found = json_decoder(Missing).decode(file.read())
    except (OSError, msgspec.DecodeError):
        return None
    return found if found.batch == batch else None


class Difference(NamedTuple):
    """A file that is not as the journal says: its path, and the reason."""

    path: str
    reason: str


def differences(journal_path: str, folder: str) -> Iterator[Difference]:
    """Compare a folder with a journal: names, sizes and checksums. What a verified copy holds may be gone from it.

    Raises:
        JournalDamaged, StorageFailed: the journal or the folder cannot be read.
    """
    expected: set[str] = set()
    stub = _stub(folder)
    with storage_errors(journal_path):
        file = open(journal_path, "rb", buffering=0)
    with file, contextlib.suppress(journal.TornTail):
        for entry in journal.scan(file):
            record = entry.record
            if record.kind == WRITE:
                expected.add(record.name)
                if stub is not None and not os.path.lexists(os.path.join(folder, record.name)):
                    if record.name in stub.missing:
                        yield Difference(os.path.join(folder, record.name), "gone before the archive was copied")
                elif reason := difference(folder, record):
                    yield Difference(os.path.join(folder, record.name), reason)
    with storage_errors(folder):
        for name in os.listdir(folder):
            if name.startswith("gwb") and name not in expected:
                yield Difference(os.path.join(folder, name), "not in the journal")


def _stub(folder: str) -> Stub | None:
    """What `remote.json` says."""
    try:
        return read_stub(folder)
    except ValueError as error:
        raise StorageFailed(f"{folder}: remote.json is damaged: {error}") from None
    except OSError as error:
        raise StorageFailed(f"{folder}: {error.strerror}") from None


def difference(folder: str, record: Record) -> str:
    """How a segment's file differs from its record; empty if it does not."""
    try:
        with open(open_beneath(folder, record.name), "rb") as file:
            content = file.read()
    except OSError as error:
        return error.strerror or str(error)
    return differs(content, record.size, record.crc32)


def differs(content: bytes, size: int, crc32: int) -> str:
    """How content differs from the size and checksum in the journal; empty if it does not."""
    if len(content) != size:
        return f"{len(content)} bytes instead of {size}"
    if crc32_of(content) != crc32:
        return "its checksum differs"
    return ""


def main() -> int:
    """Verify the store; the exit code is 1 where a file differs, 2 where the store cannot be read."""
    try:
        layout = Layout(store_from_env())
        batches = [(layout.journal, layout.data)]
        with storage_errors(layout.root):
            batches += [
                (layout.archived_journal(name), layout.archive(name))
                for name in sorted(os.listdir(layout.root))
                if os.path.isfile(layout.archived_journal(name))
            ]
        found = 0
        for journal_path, folder in batches:
            for path, reason in differences(journal_path, folder):
                found += 1
                print(f"{path}: {reason}")
        copied = [stub for _, folder in batches if (stub := _stub(folder)) is not None]
        print(f"{len(batches)} batches verified, {found} files differ")
        if elsewhere := sum(stub.freeing for stub in copied):
            print(f"segments of {elsewhere} batches lie elsewhere; `gwclient archives verify` reads them")
        for stub in copied:
            if stub.lost:
                found += 1
                print(f"{stub.prefix}: the copy cannot be relied on: {stub.lost}")
    except (ConfigError, DatastoreError) as error:
        print(f"cannot verify: {error}", file=sys.stderr)
        return 2
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
