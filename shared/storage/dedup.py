"""The dedup index: decisions by position and by idempotency key, so that a repeated request counts once.

Two kinds of repetition. Ingest may deliver a *commit request* again, after a lost answer or a retry. It is known
by its position: within one spool, decisions only move forward, so everything below the spool's watermark is decided,
and the results of its last group are kept. A client may send a *request* again. It is known by its key, which is
unique together with the kind of the request and the principal that sent it.

Segments' keys are known for the open batch and the last one before it that holds any. In memory such a key is one hash
and one offset (about 110 bytes); the journal line at that offset has the last word. Keys of freezes and cleanalls are
few: the newest `MAX_DECISIONS` are kept whole, and each journal begins with them.
"""

from __future__ import annotations

from array import array
from hashlib import blake2b
from typing import NamedTuple

import msgspec
from msgspec import field

from shared.domain.records import CLEAN, OPEN, UPDATE, WRITE, Record
from shared.domain.request_key import KeyedDecision, Origin, RequestKey
from shared.storage import journal
from shared.volume.posix import AppendFile

MAX_DECISIONS = 64
_LEGACY_SOURCE = "/datastore/functions"  # under which functions of version 0.1.0 sent freezes and cleanalls
LastGroups = dict[str, tuple[int, dict[int, tuple[str, int]]]]
"""Spool -> the newest group committed from it: its number, and offset -> (name, size) of its segments."""


class _Keys(NamedTuple):
    """The segments' keys in one batch's journal: hash of the key -> offset of the record."""

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
    """The content of a `DedupIndex`, as a checkpoint keeps it; keys as `_Keys.pack` writes them."""

    watermarks: dict[str, int] = field(name="marks")
    last_group: LastGroups
    keys: bytes
    previous: bytes
    decisions: list[KeyedDecision]
    batch: int


def _hash(by: str, key: RequestKey | str) -> int:
    """The same in every process, unlike Python's own. JSON keeps the parts of a key apart."""
    return int.from_bytes(blake2b(msgspec.json.encode((by, key)), digest_size=8).digest())


class DedupIndex:
    """An index over the journals of the open batch and of the last one before it that holds keys.

    It owns both files and closes them.

    Attributes:
        watermarks: spool -> offset up to which it has been decided.
    """

    def __init__(self) -> None:
        self.watermarks: dict[str, int] = {}
        self._last_group: LastGroups = {}
        self._open: _Keys | None = None
        self._previous: _Keys | None = None
        self._decisions: dict[tuple[str, str, RequestKey | str], KeyedDecision] = {}
        self._batch = 0

    @property
    def key_count(self) -> int:
        """How many segments' keys are in memory."""
        return sum(len(keys.offsets) for keys in (self._open, self._previous) if keys is not None)

    @property
    def decisions(self) -> list[KeyedDecision]:
        """The newest freezes and cleanalls that were decided under keys, oldest first."""
        return list(self._decisions.values())

    @property
    def has_keys(self) -> bool:
        """Whether the open batch's journal holds any segment's key."""
        return self._open is not None and bool(self._open.offsets)

    def begin(self, file: AppendFile) -> None:
        """Index `file` from now on; the batch indexed so far becomes the previous one, if it holds any key."""
        older = self._open
        if self.has_keys:
            older, self._previous = self._previous, older
        if older is not None:
            older.file.close()
        self._open = _Keys(file, {})

    def snapshot(self) -> DedupSnapshot:
        """The index's content."""
        keys, previous = (each.pack() if each is not None else b"" for each in (self._open, self._previous))
        return DedupSnapshot(dict(self.watermarks), dict(self._last_group), keys, previous, self.decisions, self._batch)

    def resume(self, snapshot: DedupSnapshot, file: AppendFile, previous: AppendFile | None) -> None:
        """Restore a snapshot of `file` and of the journal of the batch before, if that is still there."""
        self.watermarks, self._last_group = dict(snapshot.watermarks), dict(snapshot.last_group)
        self._batch = snapshot.batch
        for decision in snapshot.decisions:
            self._remember(decision)
        self._open = _Keys.unpack(file, snapshot.keys)
        self._previous = _Keys.unpack(previous, snapshot.previous) if previous is not None else None

    def close(self) -> None:
        """Close both journals."""
        for keys in (self._open, self._previous):
            if keys is not None:
                keys.file.close()
        self._open = self._previous = None

    def add(self, offset: int, record: Record) -> None:
        """Add a decided record, whose line begins at `offset` in the open batch's journal."""
        if record.kind == WRITE:
            if record.key and self._open is not None:
                self._open.offsets[_hash(record.by, record.key)] = offset
            self.watermarks[record.spool] = record.offset + record.size
            group, results = self._last_group.get(record.spool, (-1, {}))
            if group != record.group:
                results = {}
                self._last_group[record.spool] = (record.group, results)
            results[record.offset] = (record.name, record.size)
        elif record.kind == OPEN:
            self._batch = record.batch
            self.watermarks.update(record.watermarks)
            for decision in record.decisions:
                self._remember(decision)
        elif record.key and record.kind in (UPDATE, CLEAN):
            self._remember(KeyedDecision(record.kind, record.by, record.key, self._batch, record.archive))

    def _remember(self, decision: KeyedDecision) -> None:
        self._decisions[decision.kind, decision.by, decision.key] = decision
        while len(self._decisions) > MAX_DECISIONS:
            del self._decisions[next(iter(self._decisions))]

    def forget_spools(self, alive: set[str]) -> None:
        """Drop spools that no longer exist: nothing can be committed from them any more."""
        for spool in self.watermarks.keys() - alive:
            del self.watermarks[spool]
            self._last_group.pop(spool, None)

    def segment_by_key(self, by: str, key: RequestKey) -> Record | None:
        """The segment stored for this principal under this key; also one that version 0.1.0 stored under its text."""
        for principal, name in ((by, key), ("", key.legacy_text)):
            wanted = _hash(principal, name)
            for keys in filter(None, (self._open, self._previous)):
                offset = keys.offsets.get(wanted)
                if offset is not None:
                    record = journal.read_record(keys.file, offset)
                    if record is not None and (record.kind, record.by, record.key) == (WRITE, principal, name):
                        return record
        return None

    def decision(self, kind: str, origin: Origin) -> KeyedDecision | None:
        """The freeze (UPDATE) or cleanall (CLEAN) that a request of this origin repeats."""
        by, key = origin.by, origin.key
        if key is None:
            return None
        names = (by, key), ("", key.legacy_text), ("", f"{_LEGACY_SOURCE} {key.legacy_text}")
        return next((found for name in names if (found := self._decisions.get((kind, *name)))), None)

    def by_position(self, spool: str, offset: int) -> tuple[str, int] | None:
        """Name and size of the segment stored from this position, if it belongs to its spool's last group."""
        return self._last_group.get(spool, (-1, {}))[1].get(offset)
