"""Strain in blocks is joined like strain in segments, and read from the files by channel."""

from __future__ import annotations

import zlib

import pyarrow as pa
import pytest

from shared.domain import block
from shared.domain.records import WRITE, Record, file_name, segments_in
from shared.errors import SegmentDamaged
from shared.strain import joining
from tests.support.blocks import NS, T0, arrow_block, field, ndjson_block, stream


def stored(folder, bodies):
    """Write the bodies as a store does; the segments that a reader of the journal finds."""
    found: list = []
    for number, body in enumerate(bodies, 10**18):
        (folder / file_name(number)).write_bytes(body)
        crc32 = zlib.crc32(body)
        record = Record("info", 0, len(body), file_name(number), "", WRITE, crc32=crc32, detector="V1",
                        channel="V1:CH_0", t0=T0 + 2, dt=1 / 8, samples=8)  # fmt: skip
        format = block.format_of({}, body)
        if body[:1] == b"{" and b"\n" in body:
            format = block.NDJSON
        if format:
            _, holds = block.parse(body, format, 100, 10_000)
            record = Record("info", 0, len(body), file_name(number), "", WRITE, crc32=crc32, format=format, holds=holds)
        found += segments_in(record)
    return found


def test_blocks_and_segments_of_a_channel_are_one_stretch(tmp_path):
    types = [field("V1:CH_0", rate=8), field("V1:CH_1", pa.int16(), rate=4)]
    bodies = [
        stream(types, [[T0 * NS, [0.5 + i for i in range(8)], [1, 2, 3, 4]]]),
        ndjson_block(2, 8, T0 + 1, 8),
        b'{"h":[1,2,3,4,5,6,7,8],"t":[%d,0.125],"channel":"V1:CH_0"}' % (T0 + 2),
    ]
    found, unusable = joining.streams(stored(tmp_path, bodies))
    assert not unusable
    assert [(s.channel, s.rate, [(x.t0, x.n) for x in s.stretches]) for s in found] == [
        ("V1:CH_0", 8, [(T0, 24)]), ("V1:CH_1", 4, [(T0, 4)]), ("V1:CH_1", 8, [(T0 + 1, 8)]),
    ]  # fmt: skip
    (whole,) = found[0].stretches
    assert list(joining.samples(str(tmp_path), whole)) == [
        *(0.5 + i for i in range(8)), *[0.0] * 8, *map(float, range(1, 9)),
    ]  # fmt: skip
    part = joining.part_of(found[0], whole, 6, 12)
    assert list(joining.samples(str(tmp_path), part)) == [6.5, 7.5, *[0.0] * 8, 1.0, 2.0]
    assert list(joining.samples(str(tmp_path), found[1].stretches[0])) == [1.0, 2.0, 3.0, 4.0]


def test_a_gap_in_a_block_is_a_gap_in_its_channel_alone(tmp_path):
    rows = [[T0 * NS, [1.0, 2.0, None, 4.0], [1.0, 2.0, 3.0, 4.0]]]
    found, _ = joining.streams(stored(tmp_path, [stream([field("V1:a", rate=4), field("V1:b", rate=4)], rows)]))
    assert [(s.channel, s.gaps) for s in found] == [("V1:a", [(T0 + 0.5, T0 + 0.75)]), ("V1:b", [])]
    assert list(joining.samples(str(tmp_path), found[0].stretches[1])) == [4.0]


def test_a_block_that_was_altered_is_noticed_although_its_length_stays(tmp_path):
    (segment, *_) = stored(tmp_path, [arrow_block(2, 10_000)])
    found, _ = joining.streams([segment])
    assert len(joining.samples(str(tmp_path), found[0].stretches[0])) == 10_000
    path = tmp_path / segment.name
    content = bytearray(path.read_bytes())
    content[-1000] ^= 1
    path.write_bytes(content)
    with pytest.raises(SegmentDamaged):
        joining.samples(str(tmp_path), found[0].stretches[0])
