"""A checkpoint: the journal replayed up to an offset, so that recovery replays only what follows.

It is a shortcut and never the truth. It holds the checksum of the journal's bytes that it stands for. A start
compares it with the journal itself. Where they differ, or the checkpoint is damaged, outdated or missing, the whole
journal is replayed, and damage is found where it is. The segments it stands for are durable as files and need no spool.

Format: CRC-32 of the rest (4 bytes, big-endian), then a `Checkpoint` as MessagePack.
"""

from __future__ import annotations

import logging
import os

import msgspec
from msgspec import field

from shared.checksum import crc32_of
from shared.decoding import msgpack_decoder
from shared.domain.livetime import Span
from shared.domain.state import State
from shared.storage import journal
from shared.storage.dedup import DedupSnapshot
from shared.volume.posix import PosixFileSystem, storage_errors
from shared.volume.whole_files import atomic_replace

log = logging.getLogger(__name__)

_FORMAT = 2
_CRC32 = 4  # bytes of the file's own CRC-32, which stands first


class Checkpoint(msgspec.Struct, frozen=True):
    """A batch's journal, replayed up to `end`.

    Attributes:
        batch: the batch's number.
        end: an offset at a line's end.
        crc32: CRC-32 of the journal's bytes before `end`.
        state: these bytes, folded.
        dedup: the index over them.
        spans: the livetime in them; None where it was not measured.
    """

    batch: int
    end: int
    crc32: int = field(name="sum")
    state: State
    dedup: DedupSnapshot = field(name="known")
    spans: list[Span] | None = field(name="stretches", default=None)
    format: int = _FORMAT


_decode = msgpack_decoder(Checkpoint).decode


def save(path: str, checkpoint: Checkpoint) -> None:
    """Replace the checkpoint.

    Raises:
        StorageFailed: the volume does not take it; the old one stands.
    """
    content = msgspec.msgpack.encode(checkpoint)
    with storage_errors("writing the checkpoint"):
        atomic_replace(path, crc32_of(content).to_bytes(_CRC32) + content, before_rename="checkpoint.swap")


def load(path: str, file: journal.Readable, batch: int) -> Checkpoint | None:
    """The checkpoint, if it stands for the beginning of this journal of `batch`; else None."""
    try:
        found = parse(PosixFileSystem().cat_file(path))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        log.warning("%s cannot be used, the whole journal is replayed: %s", path, error)
        return None
    if found.batch != batch:
        return None
    if os.fstat(file.fileno()).st_size < found.end or journal.checksum(file, 0, found.end) != found.crc32:
        log.warning("%s does not match the journal, the whole journal is replayed", path)
        return None
    return found


def parse(content: bytes) -> Checkpoint:
    """Decode a checkpoint file.

    Raises:
        ValueError: it is damaged, or of another version.
    """
    body = memoryview(content)[_CRC32:]
    if content[:_CRC32] != crc32_of(body).to_bytes(_CRC32):
        raise ValueError("its checksum does not match")
    found = _decode(body)  # msgspec's errors are ValueErrors
    if found.format != _FORMAT:
        raise ValueError("it has the format of another version")
    return found
