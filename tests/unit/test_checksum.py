"""The checksum of what is stored is zlib's CRC-32, whichever library computes it: files outlive libraries."""

from __future__ import annotations

import zlib

from hypothesis import given
from hypothesis import strategies as st

from shared.checksum import crc32_of


@given(st.binary(max_size=20_000), st.integers(0, 2**32 - 1))
def test_it_is_the_crc_32_of_zlib(content, start):
    assert crc32_of(content) == zlib.crc32(content)
    assert crc32_of(content, start) == zlib.crc32(content, start)
    assert crc32_of(memoryview(content)[1:]) == zlib.crc32(content[1:])
