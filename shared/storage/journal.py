"""The journal: the store's commit log, JSON lines appended in groups and read back with every byte checked.

A line is a `Record` and ends in `,"crc":"xxxxxxxx"}`: the CRC-32 (zlib's) of all bytes before that suffix. `group` in a
record is the offset at which its group begins. Groups are synced one after another, so all bytes before the last group
are durable. Only the last group can be torn by a crash, and then it was never acknowledged.

`scan` goes by that rule. A line is part of a torn tail if it was cut short, or has the NUL bytes of a page that never
reached the disk, and if no later group follows. Everything else that does not check is damage, and nothing may be
written after damage.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from typing import NamedTuple, Protocol

import msgspec

from shared.checksum import crc32_of
from shared.decoding import json_decoder
from shared.domain.records import WRITE, Record, file_number
from shared.errors import JournalDamaged

_SUFFIX = len(',"crc":"00000000"}')
_CHUNK = 1 << 20  # bytes in one read
_LINES_CHUNK = 1 << 16  # bytes in one read of lines; they are still in the cache when they are checked
_FIRST_CHUNK = 1 << 12  # bytes in the first read, because many readers want a few lines only
_WRITE_MARK = f'"message":"{WRITE}"'.encode()
_stored = re.compile(  # the first six keys of a stored segment, as every release has written them
    rb'{"level":"[^"\\]*","Id":(\d+),"size":\d+,"name":"(gwb(\d+)\.json)","time":"[^"\\]*",' + _WRITE_MARK + b","
).match
_encode = msgspec.json.Encoder().encode
_decode = json_decoder(Record).decode


class Readable(Protocol):
    """An open journal: a binary file, or the writer's `AppendFile`."""

    @property
    def name(self) -> str:
        """Its path, for messages."""

    def fileno(self) -> int:
        """Its descriptor; reads are positioned and share it freely."""


class TornTail(Exception):
    """The journal ends in a group that was never acknowledged; it must be cut at `offset`."""

    def __init__(self, offset: int) -> None:
        super().__init__(offset)
        self.offset = offset


class JournalEntry(NamedTuple):
    """A record, the offset of its line, and that of the next."""

    offset: int
    end: int
    record: Record


def encode(record: Record) -> bytes:
    """The journal line of `record`, newline included."""
    body = _encode(record)[:-1]
    return b'%s,"crc":"%08x"}\n' % (body, crc32_of(body))


def decode(line: bytes) -> Record | None:
    """The record in `line` (without its newline); None where the line does not check."""
    if not _checks(line):
        return None
    try:
        return _decode(line)
    except msgspec.DecodeError:
        return None


def _checks(line: bytes) -> bool:
    return line[-_SUFFIX:] == b',"crc":"%08x"}' % crc32_of(line[:-_SUFFIX])


def raw_lines(file: Readable, start: int = 0) -> Iterator[tuple[int, bytes, bool]]:
    """Yield (offset, line without newline, whether it had one) from `start` to the end of the file."""
    offset, rest = start, b""
    position = start
    size = _FIRST_CHUNK
    while chunk := os.pread(file.fileno(), size, position):
        position += len(chunk)
        size = min(2 * size, _LINES_CHUNK)
        *whole, rest = (rest + chunk).split(b"\n")
        for line in whole:
            yield offset, line, True
            offset += len(line) + 1
    if rest:
        yield offset, rest, False


def scan(file: Readable, start: int = 0) -> Iterator[JournalEntry]:
    """Yield every record from the offset `start` (the beginning of a line) on.

    Raises:
        Torn: after the last good record, where a torn tail follows.
        JournalDamaged: at a line that does not check and is not part of a torn tail.
    """
    for offset, line, terminated in raw_lines(file, start):
        record = decode(line) if terminated else None
        if record is None:
            if _is_torn_tail(file, offset, line, terminated):
                raise TornTail(offset)
            raise JournalDamaged(f"{file.name}: damaged at byte {offset}")
        yield JournalEntry(offset, offset + len(line) + 1, record)


def _is_torn_tail(file: Readable, offset: int, line: bytes, terminated: bool) -> bool:
    if terminated and b"\0" not in line:
        return False
    return not any(
        (record := decode(later)) is not None and record.group > offset
        for _, later, whole in raw_lines(file, offset + len(line) + 1)
        if whole
    )


def checksum(file: Readable, start: int, end: int, crc32: int = 0) -> int:
    """CRC-32 of the bytes from `start` to `end`, continued from `crc32`, that of the bytes before `start`."""
    while start < end and (chunk := os.pread(file.fileno(), min(_CHUNK, end - start), start)):
        crc32 = crc32_of(chunk, crc32)
        start += len(chunk)
    return crc32


def read_record(file: Readable, offset: int) -> Record | None:
    """The record whose line starts at `offset`; None past the end or where it does not check."""
    data = os.pread(file.fileno(), 4096, offset)
    while b"\n" not in data:
        more = os.pread(file.fileno(), _CHUNK, offset + len(data))
        if not more:
            return None
        data += more
    return decode(data[: data.index(b"\n")])


def stored_lines(
    file: Readable, *, count: int, after: str = "", limit: int | None = None
) -> Iterator[tuple[bytes, str]]:
    """Yield (line, file name) of the stored segments, in order of arrival.

    Each line's checksum is compared. No record is made of it, because that would take most of the time of a long list.

    Args:
        file: the journal.
        count: how many segments of the batch are acknowledged; later lines are not shown.
        after: start behind this file name, which need not exist.
        limit: how many to yield at the most.

    Raises:
        JournalDamaged: a line does not check.
    """
    left = count if limit is None else min(limit, count)
    if left <= 0:
        return
    threshold = file_number(after) if after else -1
    start = _first_line(file, lambda record: file_number(record.name) > threshold) if after else 0
    for offset, line, terminated in raw_lines(file, start):
        if not terminated:  # being appended at this moment
            return
        found = _stored(line)
        if found is not None and _checks(line):
            if int(found[1]) >= count:
                return
            if threshold >= 0 and int(found[3]) <= threshold:
                continue
            name = found[2].decode()
        elif _WRITE_MARK in line:  # damage, an operator's name that says so, or another writer's order of keys
            record = decode(line)
            if record is None:
                raise JournalDamaged(f"{file.name}: damaged at byte {offset}")
            if record.index >= count:
                return
            if record.kind != WRITE or file_number(record.name) <= threshold:
                continue
            name = record.name
        else:
            continue
        yield line, name
        left -= 1
        if not left:
            return


def name_pieces(file: Readable, *, count: int, start: int = 0) -> Iterator[tuple[bytes, list[bytes], int]]:
    """Yield the names of the stored segments as `stored_lines`, but many at a time.

    Args:
        file: the journal.
        count: how many segments of the batch are acknowledged.
        start: offset of the line to begin with.

    Yields:
        Whole lines, the names in them as JSON strings without quotes, and how many segments the batch held behind them.

    Raises:
        JournalDamaged: a line does not check.
    """
    content, position, held = b"", start, 0
    while count and (chunk := os.pread(file.fileno(), _LINES_CHUNK, position)):
        content += chunk
        position += len(chunk)
        names: list[bytes] = []
        end = 0  # of the line
        *lines, rest = content.split(b"\n")
        for line in lines:
            end += len(line) + 1
            found = _stored(line)
            if found is not None and _checks(line):
                held = int(found[1]) + 1
                names.append(found[2])
            elif _WRITE_MARK in line:
                if (record := decode(line)) is None:
                    offset = position - len(content) + end - len(line) - 1
                    raise JournalDamaged(f"{file.name}: damaged at byte {offset}")
                if record.kind != WRITE:
                    continue
                held = record.index + 1
                names.append(_encode(record.name)[1:-1])
            else:
                continue
            if held >= count:
                if held > count:
                    names.pop()
                yield content[:end] if held == count else b"", names, min(held, count)
                return
        yield content[:end], names, held
        content = rest


def record_of(line: bytes) -> Record:
    """The record in a line whose checksum has been compared.

    Raises:
        JournalDamaged: it holds none.
    """
    try:
        return _decode(line)
    except msgspec.DecodeError as error:
        raise JournalDamaged(f"the journal holds a line that is no record: {error}: {line[:100]!r}") from None


def name_at(file: Readable, index: int) -> str | None:
    """The file name of the segment before which the batch held `index` others; None where there is none.

    Raises:
        JournalDamaged: a line near it does not check.
    """
    for offset, line, terminated in raw_lines(file, _first_line(file, lambda record: record.index >= index)):
        if not terminated:
            break
        if _WRITE_MARK in line:
            if (record := decode(line)) is None:
                raise JournalDamaged(f"{file.name}: damaged at byte {offset}")
            if record.kind == WRITE and record.index >= index:
                return record.name if record.index == index else None
    return None


def last_segment(file: Readable, count: int) -> Record | None:
    """The record of the newest acknowledged segment; None in a batch without any.

    Args:
        file: the journal.
        count: how many segments of the batch are acknowledged.
    """
    end = os.fstat(file.fileno()).st_size
    length = _FIRST_CHUNK
    while count:
        start = max(end - length, 0)
        lines = _from_next_line(file, start) if start else ((at, decode(line)) for at, line, _ in raw_lines(file))
        found = [one for _, one in lines if one is not None and one.kind == WRITE and one.index < count]
        if found:
            return found[-1]
        if not start:
            break
        length *= 4
    return None


def _first_line(file: Readable, wanted: Callable[[Record], bool]) -> int:
    """Binary search: an offset at a line's start, at or shortly before the first segment that is `wanted`.

    All segments behind that one must be wanted too.
    """
    low, high = 0, os.fstat(file.fileno()).st_size
    while high - low > 4096:
        middle = (low + high) // 2
        found = next(
            (
                (offset, record)
                for offset, record in _from_next_line(file, middle)
                if record is not None and record.kind == WRITE
            ),
            None,
        )
        if found is None or found[0] >= high or wanted(found[1]):
            high = middle
        else:
            low = found[0]
    return low


def _from_next_line(file: Readable, position: int) -> Iterator[tuple[int, Record | None]]:
    data = os.pread(file.fileno(), 4096, position)
    while (cut := data.find(b"\n")) < 0:
        more = os.pread(file.fileno(), 4096, position + len(data))
        if not more:
            return
        data += more
    for offset, line, terminated in raw_lines(file, position + cut + 1):
        if terminated:
            yield offset, decode(line)
