"""The stream of /live in itself: heartbeats, credentials that end, and a reader that resumes where nothing is."""

from __future__ import annotations

import asyncio
import json

import pytest

from functions.strain import live as module
from functions.strain.live import Following, Live
from shared.config import StrainConfig
from shared.errors import Unauthenticated
from shared.storage.reader import BatchReader
from shared.web import Request


class Guard:
    """Admits a number of times."""

    def __init__(self, times: int) -> None:
        self.left = times

    def authenticate(self, handler, request) -> None:
        self.left -= 1
        if self.left < 0:
            raise Unauthenticated("unknown credentials")


def messages(bench, guard, **query) -> list[bytes]:
    """All messages, until the stream ends."""

    async def read() -> list[bytes]:
        live = Live(BatchReader(bench.config), StrainConfig(live_backlog=10, live_readers=2))
        response = await live.live(Request("GET", "/live", {}, query=query, guard=guard))
        assert response.endless is not None
        found = [chunk async for chunk in response.endless]
        await response.endless.aclose()
        return found

    return asyncio.run(read())


def test_a_stream_beats_and_ends_with_its_credentials(bench, monkeypatch):
    monkeypatch.setattr(module, "_HEARTBEAT", 0.01)
    bench.store(1)
    name = f"gwb{BatchReader(bench.config).newest()}.json"
    lines = [json.loads(line) for line in messages(bench, Guard(3), format="ndjson")]
    assert lines[:3] == [{"after": name}] * 3
    assert lines[3:] == [{"code": "ERRAUTH", "body": "unknown credentials", "after": name}]
    begin, beat, end = messages(bench, Guard(2))
    assert begin == b"retry: 1000\n" + beat
    assert beat == f": heartbeat\nid: {name}\n\n".encode()
    assert end.startswith(f"event: error\nid: {name}\ndata: {{".encode())


def test_a_position_moves_on_past_what_is_of_other_channels(bench, monkeypatch):
    monkeypatch.setattr(module, "_HEARTBEAT", 0.2)
    bench.store(*range(30))
    bench.writer.archive_batch()
    newest = f"gwb{BatchReader(bench.config).newest()}.json"
    lines = [json.loads(line) for line in messages(bench, Guard(2), format="ndjson", channel="L1:*", after="gwb0.json")]
    assert [line["after"] for line in lines] == ["gwb0.json", newest, newest]
    whole = b"".join(messages(bench, Guard(2), format="ndjson", channel="V?:X", after="gwb0.json")).splitlines()
    assert [json.loads(line)["t0"] for line in whole if b"name" in line] == list(range(30))


@pytest.mark.parametrize("turns", range(5))
def test_a_reader_that_goes_just_as_something_arrives_is_let_go(bench, turns):
    async def read() -> None:
        live = Live(BatchReader(bench.config), StrainConfig(live_backlog=10, live_readers=1))
        response = await live.live(Request("GET", "/live", {}, query={}))
        following = response.endless
        assert isinstance(following, Following)
        await anext(following)  # the first heartbeat
        reading = asyncio.create_task(anext(following))
        await asyncio.sleep(0)
        following._arrived.set()
        for _ in range(turns):
            await asyncio.sleep(0)
        reading.cancel()
        done, _ = await asyncio.wait([reading], timeout=1)
        assert done
        assert reading.cancelled()
        await following.aclose()

    asyncio.run(read())
