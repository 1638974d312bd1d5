"""Reading samples: runs of equal ones, and files that hold many channels."""

from __future__ import annotations

import json
import os
import random
from array import array
from itertools import groupby

import pytest

from shared.domain import block
from shared.errors import BadSegment
from shared.strain.constant_runs import constant_runs
from shared.strain.reading import DataFolder, FileSlice, Wanted, read_all
from shared.volume import posix

T0 = 1126259446.0


@pytest.mark.parametrize("rate", [16.0, 4096.0])
def test_every_long_run_of_equal_samples_is_found(rate):
    """Against the definition, with runs of lengths around the least one, at any place."""
    source = random.Random(1)
    least = max(16, round(0.01 * rate))
    for _ in range(300):
        samples = array("d")
        while len(samples) < 4 * least:
            samples.extend([source.random()] * source.choice([1, 1, 2, least - 1, least, least + 1, 2 * least]))
        expected, position = [], 0
        for _, run in groupby(samples):
            length = len(list(run))
            if length >= least:
                expected.append((position, length))
            position += length
        assert constant_runs(samples, rate) == expected
    for short in ([], [1.0], [1.0, 1.0]):
        assert constant_runs(short, rate) == []


def write_blocks(folder, files=3, channels=4, n=8):
    """Lines of segments: channel `c` of file `f` has the samples f, c, 0, 1, …"""
    for f in range(files):
        segments = [{"h": [f, c, *range(n - 2)], "t": [T0 + f, 1 / n], "channel": f"V1:C{c}"} for c in range(channels)]
        (folder / str(f)).write_text("\n".join(map(json.dumps, segments)))


def test_a_block_is_opened_once_for_all_its_channels(tmp_path, monkeypatch):
    write_blocks(tmp_path)
    opened = []

    def open_plain(name, *more, real=posix.open_plain):
        opened.append(name)
        return real(name, *more)

    monkeypatch.setattr("shared.archives.batch_files.open_plain", open_plain)
    folder = DataFolder(os.fspath(tmp_path))
    into = [array("d", bytes(3 * 8 * 8)) for _ in range(4)]
    read_all(
        Wanted(folder, FileSlice(str(f), 0, 8, -1, ("V1", f"V1:C{c}", T0 + f)), into[c], 8 * f)
        for c in range(4)
        for f in range(3)
    )
    assert opened == ["0", "1", "2"]
    assert [one.tolist() for one in into] == [
        [value for f in range(3) for value in (f, c, *range(6))] for c in range(4)
    ]


def test_kept_samples_are_the_newest_used_ones_and_no_more_than_the_memory(tmp_path):
    write_blocks(tmp_path, files=3, channels=1)
    folder = DataFolder(os.fspath(tmp_path), memory=2 * 8 * 8)  # of two files
    slices = [FileSlice(str(f), 2, 3, -1, ("V1", "V1:C0", T0 + f)) for f in range(3)]
    for f in (0, 1, 0, 2):
        assert list(folder.samples(slices[f])) == [0, 1, 2]
    for f in range(3):
        (tmp_path / str(f)).unlink()
    for f in (0, 2):
        assert list(folder.samples(slices[f])) == [0, 1, 2]
    with pytest.raises(Exception, match="gone"):
        folder.samples(slices[1])


def test_a_reader_finds_each_run_or_says_that_there_is_none():
    text = "\n".join(
        json.dumps({"h": [c, 1.5], "t": [T0, 0.5], "channel": f"V1:C{c}", **({"detector": "V1"} if c else {})})
        for c in range(3)
    ).encode()
    for content in (text, b"[" + text.replace(b"\n", b",") + b"]"):
        reader = block.Reader(content)
        for c in (2, 0, 1, 2):
            assert list(reader.samples("V1", f"V1:C{c}", T0)) == [c, 1.5]
        with pytest.raises(BadSegment):
            reader.samples("V1", "V1:C9", T0)
    for content in (b'{"h":[1,2],"t":[0,1]}', b'{\n"h":[1,2],\n"t":[0,1]}'):
        one = block.Reader(content)
        assert [list(one.samples("", "", 0.0)) for _ in range(3)] == [[1, 2]] * 3
