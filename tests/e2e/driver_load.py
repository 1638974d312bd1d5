"""A load from within the cluster: runs in the driver's pod, with nothing but the standard library and `load`.

`python -m tests.e2e.driver_load URL [--via URL] ...` prints a JSON list for each request when all is done: its number,
status, and answer; then the seconds that it took. With --attended it ends when its standard input does.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import os
import sys
import threading
import time
from collections.abc import Iterator

from tests.support.load import post


def body(number: int, samples: int) -> bytes:
    """The segment of this number, at a GPS second of its own."""
    t0 = 1_000_000_000.0 + number % 1_000_000_000
    return json.dumps({"h": [i * 1e-21 for i in range(1, samples + 1)], "t": [t0, 1 / 4096]}).encode()


def bodies(first: int, count: int, samples: int) -> Iterator[tuple[str, bytes]]:
    """Idempotency keys and segments, `count` of them or, with 0, without an end."""
    for number in itertools.islice(itertools.count(first), count or None):
        yield f"e2e-{number}", body(number, samples)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("url")
    parser.add_argument("--via", default="")
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--count", type=int, default=0)
    parser.add_argument("--samples", type=int, default=300)
    parser.add_argument("--connections", type=int, default=32)
    parser.add_argument("--seconds", type=float, default=0)
    parser.add_argument("--pause", type=float, default=0)
    parser.add_argument("--timeout", type=float)
    parser.add_argument("--retry", action="store_true")
    parser.add_argument("--attended", action="store_true")
    given = parser.parse_args()
    ended = threading.Event()

    def attend() -> None:
        sys.stdin.read()
        ended.set()

    if given.attended:
        threading.Thread(target=attend, daemon=True).start()
    token = os.environ.get("TOKEN", "")
    began = time.monotonic()
    sent = asyncio.run(
        post(
            given.url,
            bodies(given.first, given.count, given.samples),
            given.connections,
            retry=given.retry,
            stop=lambda: ended.is_set() or 0 < given.seconds < time.monotonic() - began,
            via=given.via,
            pause=given.pause,
            patience=given.timeout,
            headers={"Authorization": f"Bearer {token}"} if token else {},
        )
    )
    took = time.monotonic() - began
    for each in sent:
        print(json.dumps([int(each.key.removeprefix("e2e-")), each.status, each.answer.decode(errors="replace")]))
    print(json.dumps({"seconds": took}), flush=True)


if __name__ == "__main__":
    main()
