"""Reading channels and strain from a store over HTTP."""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping
from typing import NamedTuple

_TIMEOUT = 60  # seconds
_ATTEMPTS = 5  # at a store that is busy


class StoreError(Exception):
    """The store refused a request, or could not be reached; `status` is HTTP's, 0 without an answer."""

    def __init__(self, message: str, status: int = 0) -> None:
        super().__init__(message)
        self.status = status


class Channel(NamedTuple):
    """A channel of the store; `rate` in samples per second."""

    name: str
    detector: str
    rate: int


class Store:
    """A store, read with one client's credentials.

    Args:
        url: its address.
        authorization: the client's Authorization header; empty for none.
    """

    def __init__(self, url: str, authorization: str = "") -> None:
        self._url = url.rstrip("/")
        self._headers = {"Authorization": authorization} if authorization else {}

    def channels(self, pattern: str) -> Iterator[Channel]:
        """The channels whose names match a pattern of `*`, `?` and `[...]`, at whole sampling rates.

        Raises:
            StoreError: see there.
        """
        after: str | None = ""
        while after is not None:
            query = {"channel": pattern, **({"after": after} if after else {})}
            _, body = self._get("/channels", query)
            page = json.loads(body)
            for row in page["channels"]:
                if float(row["rate"]).is_integer():
                    yield Channel(row["channel"], row["detector"], int(row["rate"]))
            after = page["next"]

    def samples(self, channel: Channel, start: int, end: int) -> bytes:
        """The samples from one whole GPS second to another, little-endian float64; NaN where there are none.

        Raises:
            StoreError: also where sampling times do not fall on whole seconds.
        """
        query = {"channel": channel.name, "detector": channel.detector, "rate": channel.rate, "start": start,
                 "end": end, "gaps": "nan", "format": "raw"}  # fmt: skip
        try:
            headers, body = self._get("/strain", query)
        except StoreError as error:
            if error.status == 404:
                return _NAN * ((end - start) * channel.rate)
            raise
        if headers["X-GPS-Start"] != f"{start}.000000000" or len(body) != 8 * (end - start) * channel.rate:
            raise StoreError(
                f"the samples of {channel.name} do not fall on whole seconds, as blocks here must: read them at "
                f"{self._url}/strain"
            )
        return body

    def _get(self, path: str, query: Mapping[str, object]) -> tuple[Mapping[str, str], bytes]:
        url = f"{self._url}{path}?{urllib.parse.urlencode(query)}"
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                request = urllib.request.Request(url, headers=self._headers)  # noqa: S310 - the store's own address
                with urllib.request.urlopen(request, timeout=_TIMEOUT) as answer:  # noqa: S310
                    return answer.headers, answer.read()
            except urllib.error.HTTPError as error:
                if error.code != 503 or attempt == _ATTEMPTS:
                    raise StoreError(_reason(error), error.code) from None
                time.sleep(float(error.headers.get("Retry-After", 1)))
            except OSError as error:
                raise StoreError(f"{self._url} cannot be reached: {error}") from None
        raise AssertionError


_NAN = bytes.fromhex("000000000000f87f")


def _reason(error: urllib.error.HTTPError) -> str:
    try:
        return str(json.loads(error.read())["body"])
    except (ValueError, KeyError, TypeError):
        return f"the store answered {error.code}"
