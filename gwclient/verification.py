"""Verification of a batch over HTTP: what the store serves, compared with its log by name, size and checksum."""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

from gwclient.errors import Refused, Unreachable
from gwclient.http import HttpClient, HttpResponse, NoResponse
from gwclient.progress import Progress
from gwclient.store import SEGMENT, Row, Store, code_of

_IN_FLIGHT = 8  # requests at once
_TIMEOUT = 60.0  # seconds without a byte of a response
_ATTEMPTS = 5


class Problem(NamedTuple):
    """A segment that is not served as the log says: its name, and the reason."""

    name: str
    reason: str


def verify(store: Store, entries: Iterable[Row], batch: str, display: Progress) -> list[Problem]:
    """Get every segment of a log, and compare it.

    Args:
        store: serves the segments.
        entries: of the log, each with `name`, `size` and, if the store is not of the first release, `sum`: the CRC-32
            of the content.
        batch: the batch's number, so that a store which serves archives finds the segment after a cleanall.
        display: is advanced by one for each segment.

    Returns:
        The problems, in order of the log.

    Raises:
        Unreachable, Refused: the store does not answer, or does not serve segments.
    """
    return asyncio.run(_Verification(store.base, batch, display).run(iter(entries)))


class _Verification:
    def __init__(self, base: str, batch: str, display: Progress) -> None:
        self._url = base + SEGMENT
        self._batch = {"batch": batch} if batch else {}
        self._display = display

    async def run(self, entries: Iterator[Row]) -> list[Problem]:
        problems: list[tuple[int, Problem]] = []
        numbered = enumerate(entries)
        async with HttpClient(self._url, connections=_IN_FLIGHT, timeout=_TIMEOUT) as client:

            async def work() -> None:
                for number, entry in numbered:
                    if reason := await self._check(client, entry):
                        problems.append((number, Problem(str(entry["name"]), reason)))
                    self._display.advance()

            workers = [asyncio.create_task(work()) for _ in range(_IN_FLIGHT)]
            try:
                await asyncio.gather(*workers)
            finally:
                for worker in workers:
                    worker.cancel()
        return [problem for _, problem in sorted(problems)]

    async def _check(self, client: HttpClient, entry: Row) -> str:
        """The problem of one segment; empty if there is none."""
        response = await self._get(client, str(entry["name"]))
        if response.status == 200:
            return _difference(response.body, entry)
        if response.status == 404 and code_of(response) == "ERRFILE":
            return "missing"
        if code_of(response) in ("ERRDATA", "ERRIO"):
            return response.explain()
        kind = Unreachable if response.status >= 500 or response.status == 429 else Refused
        raise kind(f"{self._url}: {response.explain()}")

    async def _get(self, client: HttpClient, name: str) -> HttpResponse:
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                response = await client.request("GET", self._url, query={"name": name, **self._batch})
                if response.status not in (429, 502, 503, 504) or attempt == _ATTEMPTS:
                    return response
            except NoResponse as error:
                if attempt == _ATTEMPTS:
                    raise Unreachable(str(error)) from None
            await asyncio.sleep(0.2 * 2**attempt)
        raise AssertionError


def _difference(content: bytes, entry: Row) -> str:
    if len(content) != entry["size"]:
        return f"{len(content)} bytes instead of {entry['size']}"
    if "sum" in entry and zlib.crc32(content) != entry["sum"]:
        return "its checksum differs"
    return ""


def check_entries(entries: list[Row], warn: Callable[[str], None]) -> None:
    """Check that a log can be compared with.

    Raises:
        Refused: it has an entry without name or size.
    """
    if any("name" not in entry or "size" not in entry for entry in entries):
        raise Refused("the store's log has entries without `name` or `size`, so nothing can be compared")
    if bare := sum("sum" not in entry for entry in entries):
        warn(f"{bare} segments have no checksum in the log, only their sizes are compared")
