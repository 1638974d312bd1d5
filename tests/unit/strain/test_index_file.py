"""The index as a file: the same afterwards, and refused where it is not what was written."""

from __future__ import annotations

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from shared.domain.segment import StoredSegment
from shared.strain import index_file
from shared.strain.index import StrainIndex
from shared.strain.index_file import Head

HEAD = Head(7, 0xDEADBEEF, 3, 10**18)
SEGMENTS = st.tuples(
    st.sampled_from(["V1:A", "V1:B", ""]), st.floats(0, 40), st.sampled_from([1 / 64, 1 / 100, 0.0101, 0.0]),
    st.integers(1, 100),
)  # fmt: skip


def add(index, number, detector, channel, t0, dt, n, crc32=-1):
    index.add(number, StoredSegment("", detector, channel, t0, dt, n, crc32))


def picture(index: StrainIndex):
    return (
        {key: (list(s.stretches()), list(s.pieces(-(1 << 60), 1 << 60)), s.overlaps, s.samples, index.stated_rates(key))
         for key, s in index.streams.items()},
        index.unusable, list(index.numbers), list(index.crc32s),
    )  # fmt: skip


@example([("V1:A", 8.18e-07, 1 / 64, 10)], [])  # the denominator of its phase is longer than 64 bits
@given(st.lists(SEGMENTS, max_size=20), st.lists(SEGMENTS, max_size=20))
@settings(max_examples=100, deadline=None)
def test_an_index_goes_on_where_it_was_saved(before, after):
    index = StrainIndex()
    for number, (channel, t0, dt, n) in enumerate(before):
        add(index, number, "V1", channel, t0, dt, n, number)
    restored, head = index_file.decode(index_file.encode(index, HEAD))
    assert head == HEAD
    assert picture(restored) == picture(index)
    for number, (channel, t0, dt, n) in enumerate(after, len(before)):
        add(index, number, "V1", channel, t0, dt, n)
        add(restored, number, "V1", channel, t0, dt, n)
    assert picture(restored) == picture(index)
    assert all(restored.keys_of(channel) == index.keys_of(channel) for channel in ("V1:A", "V1:B", "", "V1:C"))


@pytest.mark.parametrize("at", [0, 5, 20, -1])
def test_a_damaged_file_is_refused(at):
    index = StrainIndex()
    add(index, 1, "V1", "V1:A", 100.0, 1 / 64, 64)
    content = bytearray(index_file.encode(index, HEAD))
    content[at] ^= 1
    with pytest.raises(ValueError, match="checksum"):
        index_file.decode(bytes(content))
    with pytest.raises(ValueError, match="checksum"):
        index_file.decode(bytes(content[:-3]))
