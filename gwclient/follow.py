"""Following a store: each stored segment as it arrives, across restarts of the store and lost connections."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

import msgspec

from gwclient.errors import Refused, Unreachable
from gwclient.http import HttpClient, NoResponse
from gwclient.store import Row, base_of

_SILENCE = 45.0  # seconds; the store sends something every 15
_PAUSES = (0.2, 0.5, 1.0, 2.0)  # seconds before another attempt
_FINAL = ("ERRAUTH", "ERRSCOPE")


def follow(
    url: str,
    channel: str,
    after: str,
    report: Callable[[Row], object],
    warn: Callable[[str], object],
    *,
    samples: bool,
    timeout: float,
) -> None:
    """Report each segment that is stored behind a position, for ever.

    Args:
        url: of the store.
        channel: a pattern with `*`, `?`, `[…]`.
        after: name of the file behind which to begin; empty for now.
        report: called with each segment, as /live sends it.
        warn: called with a text when the connection is lost.
        samples: whether segments come with their samples.
        timeout: seconds without an answer after which to give up.

    Raises:
        Unreachable: the store did not answer for `timeout` seconds.
        Refused: the store refuses the request.
    """
    asyncio.run(_Follower(url, channel, after, samples).run(report, warn, timeout))


class _Follower:
    def __init__(self, url: str, channel: str, after: str, samples: bool) -> None:
        self._url = f"{base_of(url)}/live"
        self._query = {"format": "ndjson", "channel": channel, "samples": str(samples).lower()}
        self._after = after
        self._heard = time.monotonic()
        self._attempt = 0

    async def run(self, report: Callable[[Row], object], warn: Callable[[str], object], patience: float) -> None:
        async with HttpClient(self._url, connections=1, timeout=min(patience, _SILENCE)) as http:
            while True:
                try:
                    await self._connect(http, report)
                    problem = f"{self._url}: the stream has ended"
                except (NoResponse, Unreachable) as error:
                    problem = str(error)
                if time.monotonic() - self._heard >= patience:
                    raise Unreachable(f"{problem}; --after {self._after} goes on" if self._after else problem)
                if not self._attempt:
                    warn(f"{problem}; trying again for {patience:g} s")
                await asyncio.sleep(_PAUSES[min(self._attempt, len(_PAUSES) - 1)])
                self._attempt += 1

    async def _connect(self, http: HttpClient, report: Callable[[Row], object]) -> None:
        headers = {"Last-Event-ID": self._after} if self._after else {}
        async with http.stream(self._url, headers=headers, query=self._query) as response:
            if response.status != 200:
                whole = await response.whole()
                kind = Unreachable if response.status >= 500 or response.status == 429 else Refused
                raise kind(f"{self._url}: {whole.explain()}")
            rest = b""
            async for chunk in response.chunks:
                *lines, rest = (rest + chunk).split(b"\n")
                for line in lines:
                    self._take(msgspec.json.decode(line), report)

    def _take(self, message: Row, report: Callable[[Row], object]) -> None:
        self._heard, self._attempt = time.monotonic(), 0
        if message.get("code") in _FINAL:
            raise Refused(f"{self._url}: {message.get('body')}")
        if "name" in message:
            report(message)
        self._after = str(message.get("after") or message.get("name") or self._after)
