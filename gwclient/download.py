"""Strain by GPS time from a store: into a file that an interrupted download continues, or into memory."""

from __future__ import annotations

import asyncio
import fcntl
import io
import os
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal, localcontext
from fractions import Fraction
from pathlib import Path

import msgspec

from gwclient.errors import ClientError, NoData, Refused, Unreachable
from gwclient.http import HttpClient, HttpResponse, NoResponse, StreamedResponse, run
from gwclient.store import base_of, code_of

FORMATS = {".hdf5": "hdf5", ".h5": "hdf5", ".gwf": "gwf", ".csv": "csv", ".txt": "txt", ".npy": "npy", ".json": "json"}
"""Formats by a file's suffix."""

Time = int | float | str | Decimal | Fraction
_TIMEOUT = 60.0  # seconds without a byte of a response
_PAUSES = (0.2, 0.5, 1.0, 2.0)  # seconds before another attempt
_SHOWN = 5  # spans that an error names
_ROWS = ("csv", "txt")  # formats of one row a sample, below lines that begin with #
_POSSIBLE = re.compile(r"[0-9]{1,10}(\.[0-9]*)?")


def decimal_seconds(value: object) -> str:
    """A time or a duration in decimal digits, exactly where they are finite, else with forty of them.

    Args:
        value: seconds: a number, `Decimal` or `Fraction`, or whatever has such text, as `LIGOTimeGPS` has.

    Raises:
        NoData: it is no number of seconds from 0 on.
    """
    try:
        with localcontext() as context:
            context.prec = 50
            if isinstance(value, Fraction):
                number = Decimal(value.numerator) / Decimal(value.denominator)
            else:
                number = Decimal(str(value).strip())
        text = f"{number:f}"[:50]
    except ArithmeticError:
        text = ""
    if not _POSSIBLE.fullmatch(text):
        raise NoData(f"{str(value)[:60]!r} is no GPS time: give seconds, such as 1126259446.5")
    return text


@dataclass(frozen=True)
class Request:
    """Which strain, and in which format; `query` are the parameters of /strain."""

    url: str
    query: Mapping[str, str]

    @classmethod
    def of(
        cls, url: str, format: str, channel: str, interval: tuple[Time, Time | None, Time | None], **more: str
    ) -> Request:
        """The request for an interval: start, and either end or duration. Further parameters may be empty.

        Raises:
            NoData: a time is none.
            Refused: `url` is no URL.
        """
        start, end, duration = interval
        if (end is None) == (duration is None):
            raise NoData("give either the end or the duration")
        query = {"channel": channel, "format": format, "start": decimal_seconds(start)}
        query |= {"end": decimal_seconds(end)} if end is not None else {"duration": decimal_seconds(duration)}
        return cls(f"{base_of(url)}/strain", query | {name: value for name, value in more.items() if value})


class Sink:
    """Where a download goes: what is there already, and what is added.

    Attributes:
        size: bytes that are there.
        etag: of the content that they are the beginning of.
    """

    size = 0
    etag = ""

    @property
    def advice(self) -> str:
        """What to say to who gives up here."""
        return ""

    def restart(self, etag: str) -> None:
        """Begin anew, with other content."""

    def add(self, chunk: bytes) -> None:
        """Add bytes at the end."""


class MemorySink(Sink):
    """Keeps the content in memory."""

    def __init__(self) -> None:
        self._content = io.BytesIO()

    def restart(self, etag: str) -> None:
        """See `Sink`."""
        self._content, self.size, self.etag = io.BytesIO(), 0, etag

    def add(self, chunk: bytes) -> None:
        """See `Sink`."""
        self.size += self._content.write(chunk)

    @property
    def content(self) -> bytes:
        """All bytes."""
        return self._content.getvalue()


class FileSink(Sink):
    """Keeps the content in `<file>.part` until it is whole, and its ETag beside it, for the next run of the command.

    Raises, when made:
        NoData: another process writes it.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._part = path.with_name(f"{path.name}.part")
        self._tag = path.with_name(f"{path.name}.part.etag")
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = self._part.open("ab")
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise NoData(f"{self._part}: another command writes it; wait for it, or name another file") from None
        self.size = self._file.tell()
        self.etag = self._tag.read_text() if self._tag.exists() else ""
        if not self.etag:
            self.restart("")

    def restart(self, etag: str) -> None:
        """See `Sink`."""
        self._file.truncate(0)
        self.size = 0
        self._tag.write_text(etag)  # after the content of another tag is gone
        self.etag = etag

    def add(self, chunk: bytes) -> None:
        """See `Sink`."""
        self.size += self._file.write(chunk)

    @property
    def advice(self) -> str:
        """See `Sink`."""
        return f"; {self.size} bytes are in {self._part}, and the same command goes on" if self.size else ""

    def close(self) -> None:
        """Keep what is there for the next run, if it is of use."""
        self._file.close()
        if not self.size:
            self._remove()

    def finish(self, format: str, samples: int) -> None:
        """Check the rows of a text, and put the file in place.

        Raises:
            Unreachable: there are fewer or more rows than samples.
        """
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        if format in _ROWS:
            with self._part.open("rb") as file:
                rows = sum(not line.startswith(b"#") for line in file)
            if rows != samples:
                self._remove()
                raise Unreachable(f"{self._path}: {rows} samples arrived in place of {samples}; fetch it again")
        self._part.replace(self._path)
        self._remove()

    def _remove(self) -> None:
        self._part.unlink(missing_ok=True)
        self._tag.unlink(missing_ok=True)


@dataclass(frozen=True)
class Described:
    """What the headers of the answer say of the samples.

    Attributes:
        t0: GPS time of the first one, seconds; on the sample grid where nanoseconds do not say otherwise.
        rate: samples per second.
        samples: their number; without those that are missing, where the strain comes in pieces.
        size: length of the content in bytes; None where the store does not know it beforehand.
    """

    t0: Fraction
    rate: Fraction
    samples: int
    size: int | None

    @classmethod
    def read(cls, headers: Mapping[str, str], size: int | None) -> Described:
        """Read the headers.

        Raises:
            Refused: they are not those of a store.
        """
        try:
            t0, rate = Fraction(headers["x-gps-start"]), Fraction(headers["x-sample-rate"])
            on_grid = Fraction(round(t0 * rate)) / rate
            t0 = on_grid if abs(on_grid - t0) <= Fraction(1, 10**9) else t0
            return cls(t0, rate, int(headers["x-samples"]), size)
        except (KeyError, ValueError, ZeroDivisionError):
            raise Refused("the answer does not say which samples it has: is the URL that of a store?") from None


def download(
    request: Request, sink: Sink, timeout: float, report: Callable[[int, int | None], object] = lambda done, size: None
) -> Described:
    """Get strain into a sink, going on after lost connections; return its description.

    Args:
        request: which strain.
        sink: where it goes.
        timeout: seconds without an answer after which to give up.
        report: called with the bytes that are there, and their number in the end, if the store says it.

    Raises:
        NoData: there is no such strain, or not all of it; the text says what there is.
        Refused: the store refuses the request.
        Unreachable: the store does not answer.
    """
    return run(_download(request, sink, timeout, report))


async def _download(
    request: Request, sink: Sink, patience: float, report: Callable[[int, int | None], object]
) -> Described:
    last, attempt = time.monotonic(), 0
    async with HttpClient(request.url, connections=1, timeout=min(patience, _TIMEOUT)) as http:
        while True:
            before = sink.size
            headers = {"Range": f"bytes={before}-", "If-Range": sink.etag} if before else {}
            try:
                async with http.stream(request.url, headers=headers, query=request.query) as response:
                    return await _receive(response, request, sink, report)
            except (NoResponse, Unreachable) as error:
                if sink.size > before:
                    last, attempt = time.monotonic(), 0
                if time.monotonic() - last >= patience:
                    raise Unreachable(f"{error}{sink.advice}") from None
            await asyncio.sleep(_PAUSES[min(attempt, len(_PAUSES) - 1)])
            attempt += 1


async def _receive(
    response: StreamedResponse, request: Request, sink: Sink, report: Callable[[int, int | None], object]
) -> Described:
    headers = response.headers
    if response.status == 416:  # all of it is there
        size = int(headers["content-range"].rpartition("/")[2])
        if size != sink.size:
            sink.restart("")
            raise Unreachable("more was there than the store has, and is fetched again")
        head = await _head(request)
        return Described.read(head.headers, size)
    if response.status not in (200, 206):
        raise _error(await response.whole(), request)
    described = Described.read(headers, _whole_size(headers))
    if response.status == 200:
        sink.restart(headers.get("etag", ""))
    elif not headers.get("content-range", "").startswith(f"bytes {sink.size}-"):
        sink.restart("")
        raise Unreachable("another part arrived than was asked for")
    report(sink.size, described.size)
    async for chunk in response.chunks:
        sink.add(chunk)
        report(sink.size, described.size)
    if described.size is not None and sink.size != described.size:
        raise Unreachable(f"{sink.size} of {described.size} bytes arrived")
    return described


async def _head(request: Request) -> HttpResponse:
    async with HttpClient(request.url, connections=1, timeout=_TIMEOUT) as http:
        return await http.request("HEAD", request.url, query=request.query)


def _whole_size(headers: Mapping[str, str]) -> int | None:
    text = headers.get("content-range", "").rpartition("/")[2] or headers.get("content-length", "")
    return int(text) if text.isdecimal() else None


# -- errors, with what would work -----------------------------------------------------------------------------------


def _error(response: HttpResponse, request: Request) -> ClientError:
    content, code = response.json(), code_of(response)
    content = content if isinstance(content, dict) else {}
    channel, text = request.query.get("channel", ""), str(content.get("body", response.explain()))
    if code == "GAP":
        active = _spans(content.get("active"))
        longest = max(active, key=lambda span: span[1] - span[0], default=None)
        instead = f"; the longest piece is --start {longest[0]!r} --end {longest[1]!r}" if longest else ""
        missing = _named(_spans(content.get("missing")))
        return NoData(f"part of {channel} is not stored: {missing}{instead}; or fill it with --gaps nan or --gaps zero")
    if code == "NODATA":
        return NoData(
            f"{text}; `gwclient channels '*'` and `gwclient coverage --channel {channel}` print what there is"
        )
    if code == "AMBIGUOUS":
        streams = content.get("streams")
        listed = ", ".join(
            f"--detector {one['detector']} --rate {one['rate']:g}" for one in streams if isinstance(one, dict)
        ) if isinstance(streams, list) else text  # fmt: skip
        return Refused(f"{channel} is not one stream: choose with one of {listed}")
    if response.status >= 500 or response.status == 429:
        return Unreachable(f"{request.url}: {response.explain()}")
    return Refused(f"{request.url}: {response.explain()}")


def _spans(value: object) -> list[tuple[float, float]]:
    try:
        return msgspec.convert(value, list[tuple[float, float]])
    except msgspec.ValidationError:
        return []


def _named(spans: list[tuple[float, float]]) -> str:
    more = f" and {len(spans) - _SHOWN} more" if len(spans) > _SHOWN else ""
    return ", ".join(f"GPS {begin!r} to {end!r}" for begin, end in spans[:_SHOWN]) + more
