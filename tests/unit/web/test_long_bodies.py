"""A long body is written into one piece as it arrives, so that it is in memory once."""

from __future__ import annotations

import asyncio
import tracemalloc
from types import SimpleNamespace
from typing import Any

import pytest

from shared.errors import BadRequest
from shared.web import asgi

BODY = bytes(range(256)) * (3 << 12)  # 3 MiB


def read(chunks: list[bytes], declared: str, ends: bool = True) -> tuple[bytes, int]:
    """The body as it is read, and the most memory that this took."""
    reserved: list[int] = []
    exchange: Any = SimpleNamespace(expect_body=lambda length: None, reserve=reserved.append)

    async def run() -> tuple[bytes, int]:
        messages = iter(chunks)
        left = len(chunks)

        async def receive() -> dict[str, Any]:
            nonlocal left
            left -= 1
            if left < 0:
                return {"type": "http.disconnect"}
            return {"type": "http.request", "body": bytes(bytearray(next(messages))), "more_body": left > 0 or not ends}

        tracemalloc.start()
        try:
            found = await asgi._read_body({"content-length": declared} if declared else {}, receive, exchange)
            return found, tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    found = asyncio.run(run())
    assert reserved[-1] == sum(map(len, chunks))
    assert reserved == sorted(reserved)
    return found


@pytest.mark.parametrize("size", [len(BODY), len(BODY) - 1, 1 << 18, 65_535])
@pytest.mark.parametrize("declared", [True, False])
def test_every_byte_arrives_in_order(size, declared):
    chunks = [BODY[first : first + size] for first in range(0, len(BODY), size)]
    found, most = read(chunks, str(len(BODY)) if declared else "")
    assert found == BODY
    assert type(found) is bytes
    if declared and size < len(BODY) // 2:
        assert most < 1.5 * len(BODY)


def test_a_declared_length_allocates_no_more_than_some_times_what_has_arrived():
    with pytest.raises(BadRequest):
        read([BODY[:4096]] * 4, str(1 << 40), ends=False)


def test_a_client_that_leaves_in_the_middle_has_sent_nothing():
    with pytest.raises(BadRequest):
        read([BODY[: 1 << 18]] * 8, str(len(BODY)), ends=False)
