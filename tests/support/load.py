"""A bounded load over many connections, that remembers what was answered to which segment."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import NamedTuple
from urllib.parse import urlsplit


class Sent(NamedTuple):
    """One request and its answer; status 0 where the connection was lost."""

    key: str
    body: bytes
    status: int
    answer: bytes

    @property
    def name(self) -> str:
        return json.loads(self.answer)["body"].split()[1]


async def _connection(
    url: str,
    bodies,
    results: list[Sent],
    retry: bool,
    stop: Callable[[], bool],
    via: str,
    headers: Mapping[str, str],
    pause: float,
    patience: float | None,
) -> None:
    parts, hop = urlsplit(url), urlsplit(via or url)
    further = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    reader = writer = None
    for key, body in bodies:
        status, answer = 0, b""
        while not stop():
            try:
                if reader is None or writer is None:
                    reader, writer = await asyncio.open_connection(hop.hostname, hop.port or 80)
                head = f"POST {parts.path} HTTP/1.1\r\nHost: {parts.netloc}\r\nContent-Length: {len(body)}\r\n"
                head += further
                head += f"Idempotency-Key: {key}\r\n\r\n" if key else "\r\n"
                writer.write(head.encode() + body)
                async with asyncio.timeout(patience):
                    status, answer = await _read(reader)
            except (OSError, asyncio.IncompleteReadError):
                status, answer = 0, b""
                if writer is not None:
                    writer.close()
                writer = None
            if not retry or status in (201, 400):
                break
            await asyncio.sleep(0.05)
        results.append(Sent(key, body, status, answer))
        if stop():
            break
        if pause:
            await asyncio.sleep(pause)
    if writer is not None:
        writer.close()


async def _read(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    head = await reader.readuntil(b"\r\n\r\n")
    status = int(head[9:12])
    length = 0
    for line in head.split(b"\r\n")[1:]:
        if line.lower().startswith(b"content-length:"):
            length = int(line.split(b":")[1])
    return status, await reader.readexactly(length)


async def post(
    url: str,
    bodies: Iterable[tuple[str, bytes]],
    connections: int = 64,
    *,
    retry: bool = False,
    stop: Callable[[], bool] = lambda: False,
    via: str = "",
    headers: Mapping[str, str] = MappingProxyType({}),
    pause: float = 0.0,
    patience: float | None = None,
) -> list[Sent]:
    """POST every (idempotency key or "", body), each once, or with `retry` until it is taken; `stop` ends it early.

    `via` is the URL to connect to instead of the host of `url`; each connection waits `pause` seconds between two,
    and `patience` seconds for an answer, without which its connection is lost.
    """
    source = iter(bodies)
    results: list[Sent] = []
    async with asyncio.TaskGroup() as tasks:
        for _ in range(connections):
            tasks.create_task(_connection(url, source, results, retry, stop, via, headers, pause, patience))
    return results


def post_all(url: str, bodies: Iterable[tuple[str, bytes]], connections: int = 64, **kw) -> list[Sent]:
    """`post`, from a thread without an event loop."""
    return asyncio.run(post(url, bodies, connections, **kw))
