"""Ranges read ahead and kept: few requests for a stretch, and no more memory than is allowed."""

from __future__ import annotations

import os
import random

import pytest

from shared.archives.index import Index, Row
from shared.archives.ranges import BLOCK, Ranges, ReadAhead, Source

CONTENT = os.urandom(70 * BLOCK + 123)


class Fetched:
    """An object that notes which parts of it are read."""

    def __init__(self) -> None:
        self.parts: list[tuple[int, int]] = []
        self.source = Source("object", len(CONTENT), self.fetch)

    def fetch(self, start: int, stop: int) -> bytes:
        assert 0 <= start < stop <= len(CONTENT)
        self.parts.append((start, stop))
        return CONTENT[start:stop]


def test_one_segment_is_one_small_request():
    fetched, ranges = Fetched(), Ranges(64 * BLOCK)
    assert ranges.read(fetched.source, 5 * BLOCK + 7, 5 * BLOCK + 1007, ReadAhead()) == CONTENT[5 * BLOCK + 7 :][:1000]
    assert fetched.parts == [(5 * BLOCK, 6 * BLOCK)]


def test_a_stretch_takes_a_request_for_each_doubling():
    fetched, ranges, ahead = Fetched(), Ranges(64 * BLOCK), ReadAhead()
    step = 80_001
    for start in range(3 * BLOCK, 63 * BLOCK, step):
        assert ranges.read(fetched.source, start, start + step, ahead) == CONTENT[start : start + step]
    assert len(fetched.parts) <= 7  # 1, 2, 4, 8, 16, 32 MiB
    assert max(stop - start for start, stop in fetched.parts) == 32 * BLOCK


def test_what_was_read_is_kept_and_the_rest_forgotten():
    fetched, ranges = Fetched(), Ranges(4 * BLOCK)
    for number in (0, 10, 20, 0, 10, 20):
        ranges.read(fetched.source, number * BLOCK, number * BLOCK + 5, ReadAhead())
    assert len(fetched.parts) == 3
    for number in range(30, 36):
        ranges.read(fetched.source, number * BLOCK, number * BLOCK + 5, ReadAhead())
    assert sum(map(len, ranges._blocks.values())) == ranges._size <= 4 * BLOCK
    ranges.read(fetched.source, 0, 5, ReadAhead())
    assert len(fetched.parts) == 10


@pytest.mark.parametrize("limit", [1, 3 * BLOCK, 64 * BLOCK])
def test_any_part_is_what_it_is_whatever_is_kept(limit):
    dice, fetched, ranges, ahead = random.Random(1), Fetched(), Ranges(limit), ReadAhead()
    for _ in range(60):
        start = dice.randrange(len(CONTENT))
        stop = min(len(CONTENT), start + dice.choice([1, 500, BLOCK, 5 * BLOCK]))
        assert ranges.read(fetched.source, start, stop, ahead) == CONTENT[start:stop]


def test_an_index_finds_its_rows_and_nothing_else():
    index = Index()
    rows = [Row(10**18 + 7 * n, n // 4, 512 + n * 1024, n, n * 99) for n in range(1000)]
    for row in rows:
        index.add(row)
    content = index.encode()
    assert len(content) == 16 + 32 * len(rows)
    found = Index.decode(content)
    assert list(found.rows()) == rows
    assert [found.find(row.number) for row in rows] == rows
    assert found.find(rows[3].number + 1) is None
    assert found.find(0) is None
    for damaged in (b"", content[:-1], content + b"x", b"x" + content[1:]):
        with pytest.raises(ValueError, match="no index"):
            Index.decode(damaged)
