"""The checkpoint: what the journal comes to up to some offset, so that a start need not fold all of it again.

It is a shortcut and never the truth. It says by their checksum which bytes of the journal it stands for, and a start
compares that with the journal itself: where they differ, or the checkpoint is damaged, outdated or missing, the whole
journal is folded, and damage is found where it is. The segments it stands for are durable as files, so no spool is
needed for them.
"""

from __future__ import annotations

import logging
import os
import zlib

import msgspec
from msgspec import field

from shared.domain.livetime import Span
from shared.domain.state import State
from shared.storage import journal
from shared.storage.dedup import DedupSnapshot
from shared.volume.posix import PosixFileSystem, atomic_replace, storage_errors

log = logging.getLogger(__name__)

_FORMAT = 1
_SUM = 4  # bytes of the file's own CRC-32, which stands first


class Checkpoint(msgspec.Struct, frozen=True):
    """What is known of a batch's journal up to `end`.

    Attributes:
        batch: the batch's number.
        end: an offset at a line's end.
        sum: CRC-32 of the journal's bytes before `end`.
        state: what these fold to.
        known: what they hold of decided records and keys.
        stretches: the strain in them; None where it was not measured.
    """

    batch: int
    end: int
    crc32: int = field(name="sum")
    state: State
    dedup: DedupSnapshot = field(name="known")
    spans: list[Span] | None = field(name="stretches", default=None)
    format: int = _FORMAT


_decode = msgspec.msgpack.Decoder(Checkpoint).decode


def save(path: str, checkpoint: Checkpoint) -> None:
    """Replace the checkpoint.

    Raises:
        StorageFailed: the volume does not take it; the old one stands.
    """
    content = msgspec.msgpack.encode(checkpoint)
    with storage_errors("writing the checkpoint"):
        atomic_replace(path, zlib.crc32(content).to_bytes(_SUM) + content, before_rename="checkpoint.swap")


def load(path: str, file: journal.Readable, batch: int) -> Checkpoint | None:
    """The checkpoint, if it stands for the beginning of this journal, which is that of `batch`."""
    try:
        found = parse(PosixFileSystem().cat_file(path))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        log.warning("%s is of no use: %s", path, error)
        return None
    if found.batch != batch:
        return None
    if os.fstat(file.fileno()).st_size < found.end or journal.checksum(file, 0, found.end) != found.crc32:
        log.warning("%s is not of this journal, which is read from its beginning", path)
        return None
    return found


def parse(content: bytes) -> Checkpoint:
    """The checkpoint in a file's content.

    Raises:
        ValueError: there is none, or none of this version's.
    """
    body = memoryview(content)[_SUM:]
    if content[:_SUM] != zlib.crc32(body).to_bytes(_SUM):
        raise ValueError("its checksum does not match")
    found = _decode(body)  # msgspec's errors are ValueErrors
    if found.format != _FORMAT:
        raise ValueError("it is another version's")
    return found
