"""Packing a batch: which segment goes into which piece, and the pieces as tar files."""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import os
import stat
from collections.abc import Collection, Iterable, Iterator
from typing import NamedTuple

from shared.archives.index import Index, Row
from shared.config.store import DATASETS, PRODUCTS
from shared.domain.records import WRITE, Record, file_name, file_number
from shared.errors import DatastoreError, JournalDamaged, StorageFailed
from shared.storage import journal
from shared.storage.verification import differs
from shared.volume import tar
from shared.volume.posix import open_beneath, open_plain, storage_errors

_CHUNK = 1 << 20


class Damaged(DatastoreError):
    """A segment is gone or is not what was stored."""


class Piece(NamedTuple):
    """A piece: its number, and the positions of its rows in the index."""

    number: int
    first: int
    stop: int


def plan(records: Iterable[Record], left_out: Collection[str], piece_size: int) -> tuple[Index, list[Piece]]:
    """Where each segment will lie. It depends on the journal and on what is left out, and on nothing else.

    Args:
        records: of the segments, in order of arrival.
        left_out: names of segments that are gone or damaged.
        piece_size: a piece ends behind the segment that makes it as long.
    """
    index, pieces = Index(), list[Piece]()
    number = offset = first = 0
    for record in records:
        if record.name in left_out:
            continue
        begin = offset + len(tar.header(record.name, record.size))
        index.add(Row(file_number(record.name), number, begin, record.size, record.crc32))
        offset = begin + record.size + len(tar.padding(record.size))
        if offset >= piece_size:
            pieces.append(Piece(number, first, len(index)))
            number, offset, first = number + 1, 0, len(index)
    if first < len(index):
        pieces.append(Piece(number, first, len(index)))
    return index, pieces


def records_of(path: str) -> Iterator[Record]:
    """The records of the segments in a journal.

    Raises:
        JournalDamaged, StorageFailed: it cannot be read.
    """
    with storage_errors(path):
        file = open(path, "rb", buffering=0)
    try:
        with file:
            yield from (entry.record for entry in journal.scan(file) if entry.record.kind == WRITE)
    except journal.TornTail as torn:  # an archive ends with its last record
        raise JournalDamaged(f"{path}: damaged at byte {torn.offset}") from None


def content_of(folder: str, index: Index, piece: Piece) -> Iterator[bytes]:
    """A piece as a tar file; each segment is compared with its size and checksum before it is packed.

    Raises:
        Damaged: a segment is gone, or differs.
        StorageFailed: a segment cannot be read.
    """
    for row in itertools.islice(index.rows_from(piece.first), piece.stop - piece.first):
        name = file_name(row.number)
        content = _segment(folder, name, row.size, row.crc32)
        yield b"".join((tar.header(name, row.size), content, tar.padding(row.size)))
    yield tar.END


def _segment(folder: str, name: str, size: int, crc32: int) -> bytes:
    try:
        with open(open_beneath(folder, name), "rb", buffering=0) as file:
            content = file.read()
    except FileNotFoundError:
        raise Damaged(f"{name} is gone") from None
    except OSError as error:
        raise StorageFailed(f"{name}: {error.strerror}") from error
    if reason := differs(content, size, crc32):
        raise Damaged(f"{name}: {reason}")
    return content


def damaged(folder: str, records: Iterable[Record]) -> list[str]:
    """The names of all segments that are gone or damaged.

    Raises:
        StorageFailed: one cannot be read: that may pass.
    """
    found = []
    for record in records:
        try:
            _segment(folder, record.name, record.size, record.crc32)
        except Damaged:
            found.append(record.name)
    return found


class Beside(NamedTuple):
    """What lies beside the segments and is copied too: paths relative to the folder, and what identifies them all."""

    names: list[str]
    identity: str


def beside(folder: str, single: Collection[str]) -> Beside:
    """What lies beside the segments of an archive: products, training sets, and the files named `single`.

    Raises:
        StorageFailed: the folder cannot be read.
    """
    found: list[tuple[str, int, int, int]] = []

    def add(path: str) -> None:
        with contextlib.suppress(FileNotFoundError):  # deleted at this moment
            status = os.lstat(path)
            if stat.S_ISREG(status.st_mode) and not path.endswith(".next"):
                found.append((os.path.relpath(path, folder), status.st_size, status.st_mtime_ns, status.st_ino))

    with storage_errors(folder):
        for name in single:
            add(os.path.join(folder, name))
        for below in (PRODUCTS, DATASETS):
            for path, _, names in os.walk(os.path.join(folder, below)):
                for name in names:
                    add(os.path.join(path, name))
    found.sort()
    identity = hashlib.sha256(repr([one[:3] for one in found]).encode()).hexdigest() if found else ""
    return Beside([one[0] for one in found], identity)


def content_beside(folder: str, names: Collection[str]) -> Iterator[bytes]:
    """What lies beside the segments as a tar file.

    Raises:
        StorageFailed: a file cannot be read, or was deleted or replaced meanwhile: it is packed anew later.
    """
    with storage_errors(folder):
        entries = [(name, os.path.getsize(os.path.join(folder, name)), name) for name in names]
        packed = tar.Tar(entries, lambda name: open(open_beneath(folder, name), "rb"))
        yield from packed.read()


def content_of_file(path: str) -> Iterator[bytes]:
    """A file in chunks.

    Raises:
        StorageFailed: it cannot be read.
    """
    with storage_errors(path), open(open_plain(path), "rb", buffering=0) as file:
        while chunk := file.read(_CHUNK):
            yield chunk
