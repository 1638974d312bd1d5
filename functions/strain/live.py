"""The answer of /live: stored segments as soon as they are durable, as server-sent events or as lines of JSON."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol

import msgspec

from functions.strain import parameters
from functions.strain.answers import PATTERN, words
from shared import web
from shared.catalog.arrivals import Arrival, Arrivals, Position
from shared.catalog.arrived_samples import ArrivedSamples
from shared.catalog.follower import Follower
from shared.catalog.tracks import glob
from shared.config import StrainConfig
from shared.errors import DatastoreError, ReaderBehind, SegmentDamaged
from shared.storage.reader import BatchReader
from shared.volume.layout import Layout

_HEARTBEAT = 15.0  # seconds; proxies close connections that are silent for longer
_PAGE = 1000  # arrivals that are read at once by a reader that is not up to date
_CHUNK = 256 << 10  # bytes after which what has been found is sent
_HEADERS = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}  # the second one for nginx
_threads = ThreadPoolExecutor(8, "live-reader")  # of their own, so that slow disks delay no other route
_encode = msgspec.json.Encoder().encode


class Wire(Protocol):
    """A form of the messages."""

    name: str
    type: str

    def begin(self, position: Position) -> bytes:
        """The first message: where the reader begins."""

    def segment(self, position: Position, row: bytes) -> bytes:
        """A stored segment, as a JSON object, and the position behind it."""

    def heartbeat(self, position: Position) -> bytes:
        """How far the reader has come."""

    def error(self, position: Position, error: DatastoreError) -> bytes:
        """The last message: the reason, and the position where to go on."""


class _Events:
    """Server-sent events (HTML standard, 9.2). The id is the position; an event without data only sets the id."""

    name, type = "sse", "text/event-stream"

    def begin(self, position: Position) -> bytes:
        return b"retry: 1000\n" + self.heartbeat(position)  # milliseconds

    def segment(self, position: Position, row: bytes) -> bytes:
        return b"id: %s\ndata: %s\n\n" % (str(position).encode(), row)

    def heartbeat(self, position: Position) -> bytes:
        return b": heartbeat\nid: %s\n\n" % str(position).encode()

    def error(self, position: Position, error: DatastoreError) -> bytes:
        return b"event: error\n" + self.segment(position, _error(position, error))


class _Lines:
    """JSON objects, one a line: segments have `name`, errors `code`, and heartbeats `after` only."""

    name, type = "ndjson", "application/x-ndjson"

    def begin(self, position: Position) -> bytes:
        return self.heartbeat(position)

    def segment(self, position: Position, row: bytes) -> bytes:
        return row + b"\n"

    def heartbeat(self, position: Position) -> bytes:
        return _encode({"after": str(position)}) + b"\n"

    def error(self, position: Position, error: DatastoreError) -> bytes:
        return _error(position, error) + b"\n"


def _error(position: Position, error: DatastoreError) -> bytes:
    return _encode({"code": error.code, "body": str(error), "after": str(position)})


_WIRES: tuple[Wire, ...] = (_Events(), _Lines())


class Live:
    """Answers requests for what arrives.

    Args:
        reader: of the store.
        settings: how many readers, and how far they may fall behind.
    """

    def __init__(self, reader: BatchReader, settings: StrainConfig) -> None:
        self._reader = reader
        self._layout = Layout(reader.config)
        self._follower = Follower(reader, settings.live_readers, settings.live_backlog)

    @web.describe(
        "Stored segments as soon as they are durable, without an end", PATTERN,
        web.Parameter("after", "the `id` of the last message that was read", {"type": "string"}),
        words("format", "of the messages", *(wire.name for wire in _WIRES)),
        words("samples", "whether messages hold the samples", "false", "true"),
        media=tuple(wire.type for wire in _WIRES),
    )  # fmt: skip
    async def live(self, request: web.Request) -> web.Response:
        """The answer of /live."""
        wire = parameters.negotiate(request, _WIRES)
        matches = glob(request.query.get("channel", "*"))
        with_samples = parameters.word(request, "samples", "false", "true") == "true"
        after = request.headers.get("last-event-id") or request.query.get("after")
        position = Position.parse(after) if after else None
        if request.method == "HEAD":
            return web.Response(type=wire.type, headers=_HEADERS)

        def authenticate() -> None:
            if request.guard is not None:
                request.guard.authenticate(self.live, request)

        samples = ArrivedSamples(self._reader, self._layout)

        def describe(arrival: Arrival) -> bytes | None:
            if not matches(arrival.row.channel):
                return None
            row = _encode(arrival.row)
            return _with_samples(row, arrival, samples) if with_samples else row

        following = Following(self._follower, wire, describe, authenticate)
        self._follower.join(following.wake)
        try:
            newest = await asyncio.get_running_loop().run_in_executor(_threads, self._follower.newest)
        except BaseException:
            self._follower.leave(following.wake)
            raise
        following.start(Arrivals(self._reader, position or newest))
        return web.Response(type=wire.type, headers=_HEADERS, endless=following)


def _with_samples(row: bytes, arrival: Arrival, samples: ArrivedSamples) -> bytes:
    try:
        more = b',"h":' + _encode(list(samples.of(arrival)))
    except SegmentDamaged as error:  # which no later attempt would cure
        more = b',"h":null,"error":' + _encode({"code": error.code, "body": str(error)})
    return row[:-1] + more + b"}"


class Following(web.EndlessBody):
    """The body of an answer: what arrives behind a position. It holds one page of arrivals, and one chunk to send.

    A reader that is not up to date reads the journals at its own pace. Once it is, it shares the follower's memory, and
    ends with an error if it falls out of that.

    Args:
        follower: of the store.
        wire: the form of the messages.
        describe: returns the JSON of an arrival, None to leave it out; may block.
        authenticate: raises an error if the credentials are not valid any more.
    """

    def __init__(
        self,
        follower: Follower,
        wire: Wire,
        describe: Callable[[Arrival], bytes | None],
        authenticate: Callable[[], None],
    ) -> None:
        self._follower = follower
        self._wire = wire
        self._describe = describe
        self._authenticate = authenticate
        self._loop = asyncio.get_running_loop()
        self._arrived = asyncio.Event()
        self._up_to_date = False
        self._found: list[Arrival] = []  # what has been read and not yet been described
        self._due = 0.0  # of the next heartbeat; 0 before the first message
        self._over = False

    def start(self, arrivals: Arrivals) -> None:
        """Begin at the position of `arrivals`, which are read until those of the follower go on."""
        self._arrivals: Arrivals | None = arrivals
        self._position = arrivals.position

    def wake(self) -> None:
        """Look for arrivals. May be called on any thread."""
        with contextlib.suppress(RuntimeError):  # the loop has ended
            self._loop.call_soon_threadsafe(self._arrived.set)

    def __aiter__(self) -> Following:
        return self

    async def __anext__(self) -> bytes:
        """The next messages."""
        if self._over:
            raise StopAsyncIteration
        try:
            while True:
                now = self._loop.time()
                if now >= self._due:
                    begins, self._due = self._due == 0, now + _HEARTBEAT
                    self._authenticate()
                    return (self._wire.begin if begins else self._wire.heartbeat)(self._position)
                self._arrived.clear()
                if not self._found and not await self._read():
                    # Not wait_for: in Python 3.11 it goes on where it is cancelled just as something arrives.
                    with contextlib.suppress(TimeoutError):
                        async with asyncio.timeout(self._due - now):
                            await self._arrived.wait()
                elif messages := await self._loop.run_in_executor(_threads, self._messages):
                    return messages
        except DatastoreError as error:
            self._over = True
            return self._wire.error(self._position, error)

    async def aclose(self) -> None:
        """Make room for another reader."""
        self._follower.leave(self.wake)

    async def _read(self) -> bool:
        """Find arrivals; False if there are none now."""
        floor = self._follower.floor
        found = self._follower.behind(self._position)
        if found is not None:
            self._up_to_date, self._arrivals = True, None
        elif self._up_to_date or self._arrivals is None:
            raise ReaderBehind("this reader is more than LIVE_BACKLOG segments behind; go on where this message says")
        else:
            found = await self._loop.run_in_executor(_threads, self._arrivals.read, _PAGE)
            if not found:  # all up to there has been read
                self._position = max(self._position, floor)
                return True
        self._found = found
        return bool(found)

    def _messages(self) -> bytes:
        """The messages of what has been found, up to the length of a chunk."""
        messages, size, count = [], 0, 0
        for arrival in self._found:
            row = self._describe(arrival)
            count += 1
            if row is not None:
                messages.append(self._wire.segment(arrival.position, row))
                size += len(messages[-1])
                if size >= _CHUNK:
                    break
        if count:
            self._position = self._found[count - 1].position
            del self._found[:count]
        return b"".join(messages)
