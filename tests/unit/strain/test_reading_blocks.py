"""Reading a channel of a block: its own bytes only, and never those of a file that is not what was stored."""

from __future__ import annotations

import os
import threading
import zlib

import numpy
import pytest

from shared.domain import arrow_block, block
from shared.errors import SegmentDamaged, StorageFailed
from shared.strain import reading
from shared.strain.reading import DataFolder, FileSlice
from tests.support.blocks import NS, T0, field, stream
from tests.support.blocks import arrow_block as a_block

NAME, CHANNELS, N = "gwb1.json", 40, 1000


class Counted:
    """Content that counts the bytes that are asked for."""

    def __init__(self, content: bytes) -> None:
        self.content = content
        self.read = 0

    def __len__(self) -> int:
        return len(self.content)

    def __getitem__(self, part: slice) -> bytes:
        found = self.content[part]
        self.read += len(found)
        return found


def test_only_the_bytes_of_the_channel_and_the_metadata_are_read():
    body = a_block(CHANNELS, N)
    content = Counted(body)
    assert arrow_block.values(content, "V1", "V1:CH_7", T0) == arrow_block.values(body, "V1", "V1:CH_7", T0)
    assert 8 * N < content.read < len(body) - (CHANNELS - 2) * 8 * N


def test_a_channel_with_many_gaps_is_looked_through_once_for_all_its_runs():
    row = [i if i % 2 else None for i in range(1000)]
    body = stream([field("V1:a", rate=1000), field("V1:b", rate=1000)], [[T0 * NS, row, row]])
    content = Counted(body)
    reader = block.Reader(content)
    for channel in ("V1:a", "V1:b"):
        for run in block.parse(body, block.ARROW, 1000, 1000).holds:
            (sample,) = reader.samples("V1", channel, run.t0)
            assert sample == round((run.t0 - T0) * 1000)
    assert content.read < 2 * len(body)


@pytest.fixture
def stored(tmp_path):
    body = a_block(CHANNELS, N)
    (tmp_path / NAME).write_bytes(body)

    def read(channel: int) -> bytes:
        run = ("V1", f"V1:CH_{channel}", float(T0))
        return numpy.asarray(DataFolder(str(tmp_path)).samples(FileSlice(NAME, 0, N, zlib.crc32(body), run))).tobytes()

    return tmp_path / NAME, body, read


def alter(path, position: int) -> None:
    with open(path, "r+b") as file:
        file.seek(position)
        byte = file.read(1)[0]
        file.seek(position)
        file.write(bytes([byte ^ 1]))


def test_an_altered_byte_in_any_channel_is_noticed_before_the_first_read(stored):
    path, body, read = stored
    alter(path, len(body) - 16)  # of the last channel
    with pytest.raises(SegmentDamaged, match=f"{NAME}: its checksum differs"):
        read(0)


def test_a_file_that_changes_after_it_was_verified_is_verified_again(stored):
    path, body, read = stored
    assert [read(i) for i in range(CHANNELS)] == [
        arrow_block.values(body, "V1", f"V1:CH_{i}", T0).tobytes() for i in range(CHANNELS)
    ]
    alter(path, len(body) - 16)
    with pytest.raises(SegmentDamaged, match="checksum"):
        read(0)
    path.write_bytes(body)
    status = path.stat()
    assert read(0)
    alter(path, len(body) - 16)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))  # as a copy that keeps times
    with pytest.raises(SegmentDamaged, match="checksum"):
        read(0)


def test_blocks_may_be_forgotten_by_several_readers_at_once(stored, monkeypatch):
    path, body, read = stored
    (path.parent / "gwb2.json").write_bytes(body)
    others = FileSlice("gwb2.json", 0, N, zlib.crc32(body), ("V1", "V1:CH_0", T0))
    other = threading.Thread(target=DataFolder(str(path.parent)).samples, args=(others,))

    class Interrupted(dict):
        """Another reader verifies a block while the oldest one is looked for, unless it has to wait for that."""

        def __iter__(self):
            oldest = super().__iter__()
            if other.ident is None:
                other.start()
                other.join(0.2)
            return oldest

    monkeypatch.setattr(reading, "_VERIFIED", 1)
    monkeypatch.setattr(reading, "_verified", Interrupted({(0,): None, (1,): None}))
    assert read(0)
    other.join()
    assert len(reading._verified) == 1


@pytest.mark.parametrize("left", [3, 100, -8])
def test_a_file_that_is_cut_short_is_never_read_as_a_shorter_one(stored, left):
    path, body, read = stored
    read(0)
    os.truncate(path, left % len(body))
    with pytest.raises((SegmentDamaged, StorageFailed)):
        read(0)
