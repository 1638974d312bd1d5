"""HTTP to other functions: pooled connections, time-outs, and one error for every way of not getting an answer."""

from __future__ import annotations

import urllib3

from shared.errors import Busy

_pool = urllib3.PoolManager(maxsize=8, retries=False)


def post(url: str, headers: dict[str, str], body: bytes, timeout: float) -> tuple[int, bytes]:
    """POST and return (status, body).

    Raises:
        Busy: no answer, for whatever reason, within `timeout` seconds: the request may or may not have been heard.
    """
    try:
        answer = _pool.request("POST", url, headers=headers, body=body, timeout=urllib3.Timeout(total=timeout))
    except urllib3.exceptions.HTTPError as error:
        raise Busy(f"{url} does not answer: {type(error).__name__}") from error
    return answer.status, answer.data
