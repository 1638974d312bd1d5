"""HTTP to other functions: pooled connections, time-outs, and one error for every way of not getting an answer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import urllib3

from shared.errors import Busy

_pool = urllib3.PoolManager(maxsize=64, retries=False)


class Answer(NamedTuple):
    """A response, its body whole; header names in any case."""

    status: int
    body: bytes
    headers: Mapping[str, str]


def request(method: str, url: str, headers: Mapping[str, str], body: bytes | None, timeout: float) -> Answer:
    """Send a request; redirections are not followed.

    Raises:
        Busy: no answer, for whatever reason, within `timeout` seconds: the request may or may not have been heard.
    """
    try:
        answer = _pool.urlopen(
            method, url, headers=headers, body=body, timeout=urllib3.Timeout(total=timeout), redirect=False
        )
    except urllib3.exceptions.HTTPError as error:
        raise Busy(f"{url} does not answer: {type(error).__name__}") from error
    return Answer(answer.status, answer.data, answer.headers)


def post(url: str, headers: dict[str, str], body: bytes, timeout: float) -> tuple[int, bytes]:
    """POST and return (status, body); errors as `request`."""
    return request("POST", url, headers, body, timeout)[:2]
