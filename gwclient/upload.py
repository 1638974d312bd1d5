"""Streaming: strain is cut into segments; several are posted at once, each until the store has acknowledged it."""

from __future__ import annotations

import asyncio
import bisect
import hashlib
import itertools
import random
import time
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, Protocol

import msgspec
import uvloop

from gwclient.errors import ClientError, NoData, Refused, Unreachable, WrongState
from gwclient.http import HttpClient, HttpResponse, NoResponse
from gwclient.progress import Progress
from gwclient.resume_file import ResumeFile
from gwclient.sources import Strain

_TIMEOUT = 30.0  # seconds without a byte of a response
_MAX_PAUSE = 15.0  # seconds between two attempts at one segment
_FROZEN_PAUSE = 5.0  # seconds between two attempts while the store is frozen


class Response(NamedTuple):
    """The meaning of a response to a segment, a text for the user, and the seconds to wait (None: not said)."""

    meaning: Literal["stored", "frozen", "retry", "refused"]
    text: str = ""
    retry_after: float | None = None


class Payloads(Protocol):
    """What is sent, in pieces that are numbered from 0."""

    @property
    def media_type(self) -> str:
        """Of a piece."""

    @property
    def count(self) -> int:
        """The number of pieces."""

    @property
    def duration(self) -> float:
        """Seconds in a full piece."""

    @property
    def size(self) -> int:
        """Bytes of the samples in a full piece."""

    def body(self, number: int) -> bytes:
        """What to post."""

    def stream_id(self, url: str) -> str:
        """A digest of the strain, how it is cut, and the URL."""

    def key(self, number: int, run: str) -> str:
        """The idempotency key of a piece in a run."""


class Segments:
    """Strain in segments of `chunk` samples; the last one of each contiguous part may be shorter.

    Args:
        parts: contiguous strain of one channel, in order of time.
        chunk: samples in a segment.
    """

    media_type = "application/json"

    def __init__(self, parts: Sequence[Strain], chunk: int) -> None:
        self.parts = parts
        self._chunk = chunk
        counts = (-(-len(part.samples) // chunk) for part in parts)
        self._ends = list(itertools.accumulate(counts))  # number of the segment behind the last one of each part

    @property
    def count(self) -> int:
        """The number of segments."""
        return self._ends[-1]

    @property
    def duration(self) -> float:
        """Seconds in a full segment."""
        return float(self._chunk / self.parts[0].rate)

    @property
    def size(self) -> int:
        """Bytes of the samples in a full segment."""
        return 8 * self._chunk

    def body(self, number: int) -> bytes:
        """The JSON to post, with the shortest digits that read back as the same float64."""
        part, first = self._locate(number)
        segment: dict[str, object] = {
            "h": part.samples[first : first + self._chunk].tolist(),
            "t": [part.time_of(first), float(1 / part.rate)],
        }
        if part.detector:
            segment["detector"] = part.detector
        if part.channel:
            segment["channel"] = part.channel
        return msgspec.json.encode(segment)

    def key(self, number: int, run: str) -> str:
        """The idempotency key of a segment: the same in every attempt of one run, different in another run."""
        part, first = self._locate(number)
        return f"{part.detector or 'strain'}-{part.time_of(first)!r}-{number}-{run}"

    def stream_id(self, url: str) -> str:
        """A digest of the strain, the size of the segments, and the URL."""
        digests = " ".join(part.digest() for part in self.parts)
        return hashlib.sha256(f"{digests} {self._chunk} {url}".encode()).hexdigest()

    def _locate(self, number: int) -> tuple[Strain, int]:
        """The part that holds a segment, and the index of the segment's first sample in it."""
        index = bisect.bisect_right(self._ends, number)
        return self.parts[index], (number - (self._ends[index - 1] if index else 0)) * self._chunk


@dataclass(frozen=True, kw_only=True)
class UploadOptions:
    """Options of an upload.

    Attributes:
        in_flight: requests at once; with 1 the segments arrive in order of time.
        rate: 1 is real time, 10 is ten times as fast; 0 is as fast as the store accepts.
        wait: wait while the store is frozen.
        timeout: seconds without an acknowledgement after which the upload gives up.
    """

    in_flight: int = 8
    rate: float = 0.0
    wait: bool = False
    timeout: float = 300.0


@dataclass(frozen=True, kw_only=True)
class Upload:
    """How far strain is sent.

    Attributes:
        resume: the acknowledged segments or blocks; updated and saved.
        progress: advanced with every acknowledgement.
        in_flight: a segment or block is sent when fewer than so many are under way.
        stored: called on a thread when the store holds all of them.
    """

    resume: ResumeFile
    progress: Progress
    in_flight: int
    stored: Callable[[], object] = lambda: None


class _Piece(NamedTuple):
    """A segment or block. It does not refer to the strain, which may be large."""

    body: bytes
    headers: dict[str, str]
    number: int
    upload: Upload


def upload(segments: Payloads, url: str, resume: ResumeFile, options: UploadOptions, progress: Progress) -> None:
    """Send every segment or block that is not acknowledged yet.

    Args:
        segments: the strain to send.
        url: a /streamdata or a /sendF.
        resume: the acknowledged segments; updated and saved.
        options: see `UploadOptions`.
        progress: advanced with every acknowledgement.

    Raises:
        WrongState: the store is frozen, and `options.wait` is false.
        Unreachable: the store did not accept a segment for `options.timeout` seconds.
        Refused: the store refuses a segment.
    """

    async def only() -> AsyncIterator[tuple[Payloads, Upload]]:
        yield segments, Upload(resume=resume, progress=progress, in_flight=options.in_flight)

    try:
        uvloop.run(upload_all(only(), url, options, Pacer(options.rate)))
    finally:
        resume.close()


async def upload_all(
    uploads: AsyncIterator[tuple[Payloads, Upload]], url: str, options: UploadOptions, pacer: Pacer
) -> None:
    """Send one upload after another over the same connections. The next one begins before the last answers are there.

    Raises:
        NoData: of `uploads`, after the answers to what was under way.
        ClientError: as `upload`.
    """
    pieces = _pieces(uploads, pacer)
    turn, places = asyncio.Lock(), _Places()
    problems: list[NoData] = []
    async with HttpClient(url, options.in_flight, _TIMEOUT) as client:
        sender = _Sender(client, url, options)

        async def worker() -> None:
            while True:
                async with turn:  # so that pieces are sent in order
                    try:
                        piece = await anext(pieces)
                    except StopAsyncIteration:
                        return
                    except NoData as error:
                        problems.append(error)
                        return
                    await places.take(piece.upload.in_flight)
                await sender.send(piece)
                places.leave()
                await _acknowledge(piece.upload, piece.number)

        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(options.in_flight):
                    group.create_task(worker())
        except* (ClientError, OSError) as errors:
            raise errors.exceptions[0] from None
    if problems:
        raise problems[0]


async def _pieces(uploads: AsyncIterator[tuple[Payloads, Upload]], pacer: Pacer) -> AsyncIterator[_Piece]:
    """What is not acknowledged, each when it is due."""
    async for payloads, upload in uploads:
        missing = upload.resume.missing()
        if not missing:
            await asyncio.to_thread(upload.stored)
            continue
        pacer.go_on(payloads.duration, missing[0])
        for number in missing:
            await pacer.wait(number)
            headers = {"Content-Type": payloads.media_type, "Idempotency-Key": payloads.key(number, upload.resume.run)}
            yield _Piece(payloads.body(number), headers, number, upload)


async def _acknowledge(upload: Upload, number: int) -> None:
    """Record that the store holds a piece. The disk is waited for on a thread, because others are under way."""
    upload.resume.acknowledge(number)
    upload.progress.advance()
    if upload.resume.done == upload.resume.count:
        await asyncio.to_thread(upload.stored)
    elif upload.resume.due:
        await asyncio.to_thread(upload.resume.save)


class _Places:
    """Bounds what is under way by a number that differs from upload to upload. Only one task at a time may wait."""

    def __init__(self) -> None:
        self._taken = 0
        self._left = asyncio.Event()

    async def take(self, most: int) -> None:
        while self._taken >= most:
            self._left.clear()
            await self._left.wait()
        self._taken += 1

    def leave(self) -> None:
        self._taken -= 1
        self._left.set()


class Pacer:
    """Releases a segment at the time at which its last sample would be recorded, `rate` times as fast as real time.

    Gaps take no time. One schedule goes on over several uploads. With the rate 0 nothing is waited for.
    """

    def __init__(self, rate: float) -> None:
        self._rate = rate
        self._due = self._began = self._duration = 0.0
        self._first = 0
        self.restart()

    def restart(self) -> None:
        """Begin the schedule now, because there was nothing to send until now."""
        self._due = time.monotonic()

    def go_on(self, duration: float, first: int) -> None:
        """Go on with segments of `duration` seconds, from number `first` on."""
        self._began, self._duration, self._first = self._due, duration, first

    async def wait(self, number: int) -> None:
        """Wait until a segment is due."""
        if self._rate > 0:
            due = self._began + (number - self._first + 1) * self._duration / self._rate
            self._due = max(self._due, due)
            await asyncio.sleep(max(0.0, due - time.monotonic()))


class _Sender:
    def __init__(self, client: HttpClient, url: str, options: UploadOptions) -> None:
        self._client = client
        self._url = url
        self._options = options
        self._last_message = ""

    async def send(self, piece: _Piece) -> None:
        """Post a segment or block until it is acknowledged. The key makes repetitions harmless."""
        pause, failing_since = 0.1, 0.0
        while True:
            response = await self._post(piece)
            if response.meaning == "stored":
                self._show("", piece.upload.progress)
                return
            if response.meaning == "refused":
                raise Refused(f"{self._url}: {response.text}")
            if response.meaning == "frozen":
                if not self._options.wait:
                    raise WrongState(
                        "the store is frozen; repeat the command after cleanall to continue, or add --wait"
                    )
                failing_since = 0.0
            else:
                failing_since = failing_since or time.monotonic()
                if time.monotonic() - failing_since >= self._options.timeout:
                    raise Unreachable(f"gave up after {self._options.timeout:g} s: {response.text}")
            self._show(response.text, piece.upload.progress)
            jitter = pause * random.uniform(0.5, 1)  # noqa: S311
            await asyncio.sleep(response.retry_after if response.retry_after is not None else jitter)
            pause = min(pause * 2, _MAX_PAUSE)

    async def _post(self, piece: _Piece) -> Response:
        resume = piece.upload.resume
        resume.unsettled += 1
        try:
            response = classify(await self._client.request("POST", self._url, piece.body, headers=piece.headers))
        except NoResponse as error:
            if not error.sent:
                resume.unsettled -= 1
            return Response("retry", str(error))
        if response.meaning in ("frozen", "refused"):
            resume.unsettled -= 1
        return response

    def _show(self, text: str, progress: Progress) -> None:
        """Show a message once, although all requests in flight receive it at the same time."""
        if text != self._last_message:
            self._last_message = text
            if text:
                progress.message(text)


def classify(response: HttpResponse) -> Response:
    """The meaning of a response of /sendF (201, 503 ...) or /streamdata (200 with `resp`) to a segment."""
    status = response.status
    if status == 201:
        return Response("stored")
    content = response.json()
    content = content if isinstance(content, dict) else {}
    code = content.get("resp") or content.get("code")
    if status == 200 and code == "CREATED":
        return Response("stored")
    retry_after = _seconds(response.headers.get("Retry-After"))
    if code == "FROZEN" or (status == 503 and "frozen" in response.text.lower()):
        return Response("frozen", "the store is frozen; waiting", _FROZEN_PAUSE if retry_after is None else retry_after)
    text = response.explain()
    if status == 200 and "resp" not in content:
        return Response("refused", f"{text}: this URL is neither a /streamdata nor a /sendF")
    if status in (200, 408, 425, 429) or status >= 500:
        return Response("retry", text, retry_after)
    return Response("refused", text)


def _seconds(header: str | None) -> float | None:
    """Retry-After in seconds; None for a date, which is rare, so that the own pauses apply."""
    return float(header) if header and header.isascii() and header.isdecimal() else None
