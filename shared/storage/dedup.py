"""What has been decided already: the memory that makes a repeated record count once.

Two kinds of repetition. A *record* delivered again by our own ingest (a lost answer, a proxy's retry) is known by
its place: within one spool, decisions only move forward, so everything below the spool's mark is decided, and of
the last group the verdicts are kept. A *segment or request* sent again by a client is known by its idempotency
key, for the open batch and the one before it; in memory a key is one hash and one offset (about 110 bytes), and
the journal line at that offset has the last word.
"""

from __future__ import annotations

from array import array
from hashlib import blake2b
from typing import NamedTuple

import msgspec
from msgspec import field

from shared.domain.records import OPEN, WRITE, Record
from shared.storage import journal
from shared.volume.posix import AppendFile


class _Keys(NamedTuple):
    """The keys in one batch's journal: hash of the key -> offset of the record."""

    file: AppendFile
    offsets: dict[int, int]

    def pack(self) -> bytes:
        """All hashes, then all offsets, 8 bytes each."""
        return array("Q", self.offsets).tobytes() + array("Q", self.offsets.values()).tobytes()

    @classmethod
    def unpack(cls, file: AppendFile, packed: bytes) -> _Keys:
        """The inverse of `pack`."""
        numbers = memoryview(packed).cast("Q")  # a million keys are 16 MB: no copies
        half = len(numbers) // 2
        return cls(file, dict(zip(numbers[:half], numbers[half:], strict=True)))


class DedupSnapshot(msgspec.Struct, frozen=True):
    """All that a `Seen` has learned from journals, as it is kept in a checkpoint."""

    watermarks: dict[str, int] = field(name="marks")
    last_group: dict[str, tuple[int, dict[int, tuple[str, int]]]]
    keys: bytes  # of the open batch, and of the one before it, as `_Keys.pack` has them
    previous: bytes


def _hash(key: str) -> int:
    """The same in every process, unlike Python's own."""
    return int.from_bytes(blake2b(key.encode(errors="surrogatepass"), digest_size=8).digest())


class DedupIndex:
    """An index over the journals of the open batch and of the last one before it that holds keys.

    It owns both files and closes them.
    """

    def __init__(self) -> None:
        self.watermarks: dict[str, int] = {}
        self._last_group: dict[str, tuple[int, dict[int, tuple[str, int]]]] = {}
        self._open: _Keys | None = None
        self._previous: _Keys | None = None

    @property
    def has_keys(self) -> bool:
        """Whether the open batch's journal holds any key."""
        return self._open is not None and bool(self._open.offsets)

    def begin(self, file: AppendFile) -> None:
        """Index `file` from now on; what was indexed so far becomes the previous batch, if it holds any key."""
        older = self._open
        if self.has_keys:
            older, self._previous = self._previous, older
        if older is not None:
            older.file.close()
        self._open = _Keys(file, {})

    def snapshot(self) -> DedupSnapshot:
        """What has been noted so far."""
        keys, previous = (each.pack() if each is not None else b"" for each in (self._open, self._previous))
        return DedupSnapshot(dict(self.watermarks), dict(self._last_group), keys, previous)

    def resume(self, known: DedupSnapshot, file: AppendFile, previous: AppendFile | None) -> None:
        """Go on from `known`, learned from `file` and from the journal of the batch before, if that is still there."""
        self.watermarks, self._last_group = dict(known.watermarks), dict(known.last_group)
        self._open = _Keys.unpack(file, known.keys)
        self._previous = _Keys.unpack(previous, known.previous) if previous is not None else None

    def close(self) -> None:
        """Close both journals."""
        for keys in (self._open, self._previous):
            if keys is not None:
                keys.file.close()
        self._open = self._previous = None

    def add(self, entry: journal.JournalEntry) -> None:
        """Take a decided record into the index."""
        record = entry.record
        if record.key and self._open is not None:
            self._open.offsets[_hash(record.key)] = entry.offset
        if record.kind == WRITE:
            self.watermarks[record.spool] = record.offset + record.size
            group, verdicts = self._last_group.get(record.spool, (-1, {}))
            if group != record.group:
                verdicts = {}
                self._last_group[record.spool] = (record.group, verdicts)
            verdicts[record.offset] = (record.name, record.size)
        elif record.kind == OPEN:
            self.watermarks.update(record.watermarks)

    def forget_spools(self, alive: set[str]) -> None:
        """Drop the marks of spools that no longer exist: nothing can be committed from them any more."""
        for spool in self.watermarks.keys() - alive:
            del self.watermarks[spool]
            self._last_group.pop(spool, None)

    def by_key(self, key: str, kind: str) -> Record | None:
        """The record of this kind decided under this idempotency key, if there is one."""
        for keys in filter(None, (self._open, self._previous)):
            offset = keys.offsets.get(_hash(key))
            if offset is not None:
                record = journal.read_record(keys.file, offset)
                if record is not None and record.key == key and record.kind == kind:
                    return record
        return None

    def by_position(self, spool: str, at: int) -> tuple[str, int] | None:
        """Name and size of the segment stored from this place, if it belongs to its spool's last group."""
        return self._last_group.get(spool, (-1, {}))[1].get(at)
