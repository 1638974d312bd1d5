"""What is fuzzed: each parser takes any bytes, and either reads them or refuses them with an error of its own."""

from __future__ import annotations

import base64
import contextlib
import json
import math
import tempfile
import zlib
from pathlib import Path

import msgspec

from shared import events
from shared.auth.jwt_verifier import scopes_in
from shared.auth.tokens import read_tokens
from shared.domain import arrow_block, arrow_stream, line_block  # noqa: F401 - imported here to be instrumented
from shared.domain import block as blocks
from shared.domain.records import OPEN, WRITE, Record
from shared.domain.segment import parse
from shared.domain.state import State
from shared.errors import BadRequest, BadSegment, JournalDamaged
from shared.storage import journal
from shared.storage.checkpoint import Checkpoint
from shared.storage.checkpoint import parse as parse_checkpoint
from shared.storage.dedup import DedupSnapshot
from shared.volume.posix import AppendFile
from shared.volume.spool import read_payload
from shared.web.messages import status_update
from tests.support import blocks as built
from tests.support.blocks import NS, T0, field, ndjson_block, stream

_folder = Path(tempfile.mkdtemp(prefix="fuzz-"))


def segment(data: bytes) -> None:
    """A body of /sendF."""
    try:
        found = parse(data, 1000)
    except BadSegment:
        return
    assert 0 < len(found.h) <= 1000
    assert all(map(math.isfinite, (*found.h, found.t0, found.dt)))
    json.loads(data)  # what is stored can be read by others


def _block(data: bytes, format: str) -> None:
    try:
        found = blocks.parse(data, format, 50, 1000)
    except BadSegment:
        return
    assert 0 < sum(len(runs.channels) for runs in found.holds) <= 50
    for runs in found.holds:
        for channel in runs.channels:
            samples = blocks.values(data, runs.detector, channel, runs.t0)
            assert len(samples) == runs.n > 0
            assert all(map(math.isfinite, (*samples, runs.t0, runs.dt)))


def arrow(data: bytes) -> None:
    """A block as an Arrow IPC stream: what is taken holds what its record will say."""
    _block(data, blocks.ARROW)


def lines(data: bytes) -> None:
    """A block as text."""
    _block(data, blocks.LIST if data.lstrip()[:1] == b"[" else blocks.NDJSON)


def update(data: bytes) -> None:
    """A body of /upddsc."""
    try:
        found = status_update(data)
    except BadRequest:
        return
    assert found.status in ("FROZEN", "OPERATIONAL")


def event(data: bytes) -> None:
    """CloudEvents: headers, an empty line, a body; the first byte picks what kind of event it says it is."""
    head, _, body = data[1:].partition(b"\n\n")
    headers = {}
    for line in head.decode("latin-1").splitlines():
        name, _, value = line.partition(":")
        headers[name.strip().lower()] = value.strip()
    kind = data[0] % 4 if data else 0
    if kind < 3:
        headers["content-type"] = (events.BATCH, events.STRUCTURED, "application/json")[kind]
    if not events.is_event(headers):
        return
    try:
        found = events.decode(headers, body)
    except BadRequest:
        return
    for each in found:
        assert each.id
        assert each.source
        assert each.type
        assert isinstance(each.data, bytes)


def _line(**fields) -> bytes:
    return journal.encode(Record(level="info", time="2026-01-01T00:00:00Z", **fields))


def a_journal() -> bytes:
    """Three lines that are whole."""
    lines = _line(index=0, size=0, name="", kind=OPEN, batch=1, group=0)
    for number in range(2):
        lines += _line(index=number, size=5, name=f"gwb{number}.json", kind=WRITE, group=len(lines))
    return lines


def journal_tail(data: bytes) -> None:
    """What stands in the journal behind three whole lines: a torn tail, damage, or more lines."""
    whole = a_journal()
    path = _folder / "journal"
    path.write_bytes(whole + data)
    file = AppendFile(str(path))
    entries: list[journal.JournalEntry] = []
    try:
        entries.extend(journal.scan(file))
    except (journal.TornTail, JournalDamaged):
        pass
    else:
        assert not entries or entries[-1].end == len(whole) + len(data)
    finally:
        file.close()
    path.write_bytes(whole)
    for line in data.splitlines(keepends=True):
        if (record := journal.decode(line)) is not None:
            assert journal.decode(journal.encode(record)) == record


def journal_anywhere(data: bytes) -> None:
    """A journal with some bytes of it replaced: nothing is ever read that was not written."""
    whole = bytearray(a_journal())
    for place, value in zip(data[::2], data[1::2], strict=False):
        whole[place * len(whole) // 256] = value
    path = _folder / "damaged"
    path.write_bytes(whole)
    written = set(a_journal().splitlines(keepends=True))
    file = AppendFile(str(path))
    try:
        for entry in journal.scan(file):
            assert bytes(whole[entry.offset : entry.end]) in written
    except (journal.TornTail, JournalDamaged):
        pass
    finally:
        file.close()


def checkpoint(data: bytes) -> None:
    """A checkpoint of any bytes under a checksum that holds, and without."""
    with contextlib.suppress(ValueError):
        parse_checkpoint(data)
    try:
        found = parse_checkpoint(zlib.crc32(data).to_bytes(4) + data)
    except ValueError:
        return
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(found), type=Checkpoint) == found


def spool(data: bytes) -> None:
    """A spool of any bytes, and a journal that refers to any place in it."""
    path = _folder / "spool"
    path.write_bytes(data[4:])
    at, size = int.from_bytes(data[:2]), int.from_bytes(data[2:4])
    checksum = zlib.crc32(data[4 + at :][:size])
    payload = read_payload(str(path), at, size, checksum)
    assert payload is None or (len(payload) == size and zlib.crc32(payload) == checksum)
    assert read_payload(str(path), at, size, checksum ^ 1) is None


def credentials(data: bytes) -> None:
    """A token file, and a scope claim."""
    text = data.decode("utf-8", "replace")
    scopes_in(text, "/virgo")
    try:
        entries = read_tokens(text)
    except ValueError:
        return
    assert all(caller.name and caller.scopes for _, caller in entries)


TARGETS = {
    target.__name__: target
    for target in (segment, arrow, lines, update, event, journal_tail, journal_anywhere, checkpoint, spool, credentials)
}  # fmt: skip

_EVENT = {"specversion": "1.0", "id": "1", "source": "/s", "type": "t", "data": {"h": [1.0], "t": [0, 1]}}
_DEDUP = DedupSnapshot({"0" * 16: 3}, {}, b"", b"", [], 1)
SEEDS: dict[str, list[bytes]] = {
    "segment": [b'{"h":[1.5,-2e-21],"t":[1126259446.0,0.000244140625],"detector":"V1","channel":"V1:x","x":{"y":[]}}'],
    "arrow": [
        built.arrow_block(2, 3),
        stream([field("V1:x", rate=2)], [[T0 * NS, [1.0, None]], [(T0 + 1) * NS, None], [(T0 + 2) * NS, [2.0]]], 2),
    ],
    "lines": [ndjson_block(2, 2), b"[" + b",".join(ndjson_block(2, 1).splitlines()) + b"]"],
    "update": [b'{"user":"u","token":"t","dstatus":"FROZEN"}'],
    "event": [
        b"\0\n\n" + json.dumps([_EVENT]).encode(),
        b"\1\n\n" + json.dumps({**_EVENT, "data_base64": base64.b64encode(b"{}").decode()}).encode(),
        b'\2ce-specversion: 1.0\nce-id: 1\nce-source: /s\nce-type: t\n\n{"h":[1],"t":[0,1]}',
    ],
    "journal_tail": [a_journal(), a_journal()[-40:], b"\0" * 40],
    "journal_anywhere": [b"\x10\0", b"\xff\n\x80\n"],
    "checkpoint": [msgspec.msgpack.encode(Checkpoint(1, 9, 0, State(), _DEDUP))],
    "spool": [b"\0\0\0\5hello"],
    "credentials": [b"sha256:" + b"0" * 64 + b" me read,write # x", b"storage.read:/virgo write:/ operate"],
}  # fmt: skip
