"""Streaming: strain cut into segments and posted, several in flight, each until it is acknowledged."""

from __future__ import annotations

import asyncio
import hashlib
import json
import random
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import httpx

from client import credentials
from client.errors import ClientError, Refused, Unreachable, WrongState
from client.sources import Strain, identity
from client.state import StateFile

_LONGEST_PAUSE = 15.0  # seconds between two attempts at one segment


class Answer(NamedTuple):
    """What an answer to a segment means: "stored", "frozen", "later" or "refused"; its text; seconds to wait."""

    meaning: str
    text: str = ""
    after: float | None = None


@dataclass(frozen=True)
class Segments:
    """Strain in segments of `chunk` samples, the last one shorter where they do not divide."""

    strain: Strain
    chunk: int

    @property
    def count(self) -> int:
        """How many there are."""
        return -(-len(self.strain.samples) // self.chunk)

    def start(self, number: int) -> float:
        """GPS time of a segment's first sample."""
        return self.strain.time_of(number * self.chunk)

    def body(self, number: int) -> bytes:
        """The JSON to post. Python writes the shortest digits that read back as the same float64."""
        first = number * self.chunk
        segment: dict[str, object] = {
            "h": self.strain.samples[first : first + self.chunk].tolist(),
            "t": [self.start(number), float(1 / self.strain.rate)],
        }
        if self.strain.detector:
            segment["detector"] = self.strain.detector
        if self.strain.channel:
            segment["channel"] = self.strain.channel
        return json.dumps(segment, allow_nan=False).encode()

    def key(self, number: int, run: str) -> str:
        """Names the segment within one run of the client: a retry has the same key, streaming again has not."""
        return f"{self.strain.detector or 'strain'}-{self.start(number)!r}-{number}-{run}"

    def name(self, url: str) -> str:
        """Names the whole stream: the same strain, in the same pieces, to the same place."""
        return hashlib.sha256(f"{identity(self.strain)} {self.chunk} {url}".encode()).hexdigest()


@dataclass(frozen=True, kw_only=True)
class Manner:
    """How to stream.

    Attributes:
        in_flight: requests at once; with 1 the order of arrival is that of time, too.
        rate: 1 is real time, 10 ten times that; 0 as fast as the store takes it.
        wait: wait while the store is frozen.
        patience: seconds without an answer after which to give up.
    """

    in_flight: int = 8
    rate: float = 0.0
    wait: bool = False
    patience: float = 300.0


def upload(segments: Segments, url: str, state: StateFile, manner: Manner, show: Callable[[str], None]) -> None:
    """Send every segment that is not acknowledged yet.

    Args:
        segments: what to send.
        url: where to post it: a /streamdata or a /sendF.
        state: what is acknowledged; brought up to date.
        manner: how.
        show: called after every acknowledgement with "", and with a text when there is something to say.

    Raises:
        WrongState: the store is frozen, and `manner.wait` is not set.
        Unreachable: it did not take a segment for `manner.patience` seconds.
        Refused: it does not accept a segment.
    """
    try:
        asyncio.run(_upload(segments, url, state, manner, show))
    finally:
        state.save()


async def _upload(segments: Segments, url: str, state: StateFile, manner: Manner, show: Callable[[str], None]) -> None:
    missing = state.missing()
    pace = _Pace(segments, manner.rate, missing[0] if missing else 0)
    left = iter(missing)
    limits = httpx.Limits(max_connections=manner.in_flight, max_keepalive_connections=manner.in_flight)
    async with httpx.AsyncClient(timeout=30.0, limits=limits, headers=credentials.headers()) as client:
        post = _Post(client, url, manner, show)

        async def worker(numbers: Iterator[int]) -> None:
            for number in numbers:
                await pace.wait(number)
                await post.until_stored(segments.body(number), segments.key(number, state.run))
                state.acknowledge(number)
                show("")

        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(manner.in_flight):
                    group.create_task(worker(left))
        except* ClientError as errors:
            raise errors.exceptions[0] from None


class _Pace:
    """Lets a segment go once its last sample has been recorded, in a time that runs `rate` times as fast as ours."""

    def __init__(self, segments: Segments, rate: float, first: int) -> None:
        self._rate = rate
        self._per_segment = float(segments.chunk / segments.strain.rate)
        self._first = first
        self._began = time.monotonic()

    async def wait(self, number: int) -> None:
        if self._rate > 0:
            due = self._began + (number - self._first + 1) * self._per_segment / self._rate
            await asyncio.sleep(max(0.0, due - time.monotonic()))


class _Post:
    def __init__(self, client: httpx.AsyncClient, url: str, manner: Manner, show: Callable[[str], None]) -> None:
        self._client = client
        self._url = url
        self._manner = manner
        self._show = show
        self._said = ""

    async def until_stored(self, body: bytes, key: str) -> None:
        """Post a segment until it is acknowledged; the key makes every repetition harmless."""
        pause, trouble_since = 0.1, 0.0
        headers = {"Content-Type": "application/json", "Idempotency-Key": key}
        while True:
            try:
                answer = judge(await self._client.post(self._url, content=body, headers=headers))
            except httpx.TransportError as error:
                answer = Answer("later", f"{self._url} does not answer: {error or type(error).__name__}")
            except httpx.InvalidURL as error:
                raise Refused(f"{self._url}: {error}") from None
            if answer.meaning == "stored":
                self._say("")
                return
            if answer.meaning == "refused":
                raise Refused(f"{self._url}: {answer.text}")
            if answer.meaning == "frozen":
                if not self._manner.wait:
                    raise WrongState(
                        "the store is frozen; go on with the same command after cleanall, or with --wait now"
                    )
                trouble_since = 0.0
            else:
                trouble_since = trouble_since or time.monotonic()
                if time.monotonic() - trouble_since >= self._manner.patience:
                    raise Unreachable(f"gave up after {self._manner.patience:g} s: {answer.text}")
            self._say(answer.text)
            await asyncio.sleep(answer.after if answer.after is not None else pause * random.uniform(0.5, 1))  # noqa: S311
            pause = min(pause * 2, _LONGEST_PAUSE)

    def _say(self, text: str) -> None:
        """Say once what all the requests in flight meet at the same time."""
        if text != self._said:
            self._said = text
            if text:
                self._show(text)


def judge(answer: httpx.Response) -> Answer:
    """What the answer of a /sendF (201, 503 ...) or of a /streamdata (200 with `resp`) to a segment means."""
    try:
        content = answer.json()
    except ValueError:
        content = None
    content = content if isinstance(content, dict) else {}
    text = f"{answer.status_code} {content.get('body') or content.get('detail') or answer.text[:200]}"
    after = _seconds(answer.headers.get("Retry-After"))
    said = content.get("resp") or content.get("code")
    if said == "FROZEN" or (answer.status_code == 503 and "frozen" in answer.text.lower()):
        return Answer("frozen", "the store is frozen; waiting", after if after is not None else 5.0)
    if answer.status_code == 201 or (answer.status_code == 200 and said == "CREATED"):
        return Answer("stored")
    if answer.status_code == 200 and "resp" not in content:
        return Answer("refused", f"{text}: this is neither a /streamdata nor a /sendF")
    if answer.status_code in (200, 408, 425, 429) or answer.status_code >= 500:
        return Answer("later", text, after)
    return Answer("refused", text)


def _seconds(header: str | None) -> float | None:
    """Retry-After in seconds; a date, which it may also be, is rare enough to fall back on our own pauses."""
    return float(header) if header and header.isascii() and header.isdecimal() else None
