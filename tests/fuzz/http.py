"""Fuzzed requests against running stores: `make fuzz-http COUNT=100000 [SEED=1]`.

Half of them go to the embedded store, half to the functions of the split one, over some connections: valid requests
with something changed in the method, the path, the headers or the body, and now and then bytes that are no HTTP.
Afterwards every answer must have had a status that is listed, no log may hold a traceback, no file may be there that
does not belong, and counts, names, log and files must tell one story.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import re
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from urllib.parse import urlsplit

from shared.web.error_responses import ERROR_RESPONSES
from tests.fuzz.test_targets import changed
from tests.support.blocks import ARROW, NDJSON, arrow_block
from tests.support.builders import segment
from tests.support.servers import FUNCTION_OF, Store, http

CONNECTIONS = 32
POSTS = {"/", "/sendF", "/upddsc", "/cleanall", "/stream", "/freezeds", "/flushbuf"}
POSTS |= {"/train", "/streamdata", "/cleanbuf"}
LISTED = {answer.status for error, answer in ERROR_RESPONSES.items() if error is not Exception} | {200, 201, 204, 303}
OF_SERVERS = {100, 417, 505}  # what uvicorn and gunicorn say themselves: to `Expect`, and to another version of HTTP
# What belongs on a volume; archives have names that begin with a time of day.
BELONGS = re.compile(
    r"appdata/adm/((StatDesc|Dsstat)\.json(\.next)?|tally|checkpoint|serving\.lock)|appdata/log/LogStream\.json(\.lock)?"
    r"|datavar/(data|\d\d \d\d \d\d(-\d+)?)/(gwb\d{19}\.json|StatDesc\.json|LogStream\.json)"
    r"|datavar/(\.strain\.idx|\d\d \d\d \d\d(-\d+)?/(strain\.idx|coverage\.json))(\.next)?"
    r"|datavar/\.spool/[0-9a-f]{16}\.(log|closed|\d+)"
)
EVENT = b'{"specversion":"1.0","id":"%d","source":"/f","type":"eu.intertwin.datastore.%s","data":%s}'
VALUES = (
    b"",
    b"0",
    b"-1",
    b"1e999",
    b"null",
    b"../../etc/passwd",
    b"%2e%2e%2f",
    b"\xff\xfe",
    b"'\"<>",
    b"9" * 40,
    b"x" * 300,
)


class Requests:
    """A stream of requests, each from a valid one; the same for the same seed."""

    def __init__(self, seed: int):
        self.dice = random.Random(seed)
        self.number = 0

    def body(self) -> bytes:
        dice = self.dice
        self.number += 1
        kind = dice.choice([b"segment", b"segment", b"freeze", b"cleanall", b"frozen", b"commit"])
        strain = segment(dice.randint(1, 8), t0=float(self.number))
        return dice.choice([
            strain, strain, strain,
            arrow_block(dice.randint(1, 3), dice.randint(1, 8), float(self.number)),
            b"[" + strain.replace(b"{", b'{"channel":"V1:x",') + b"]",
            b'{"user":"fuzz","token":"fuzz"}',
            b'{"user":"fuzz","token":"fuzz","dstatus":"OPERATIONAL"}',
            b'{"msg":"fuzz"}',
            EVENT % (self.number, kind, strain),
            b"[" + EVENT % (self.number, kind, strain) + b"]",
            b"[" * dice.choice([10, 5000]),
            dice.randbytes(dice.randint(0, 60)),
            b"",
        ])  # fmt: skip

    def head(self, route: str, body: bytes) -> bytes:
        dice = self.dice
        method = b"POST" if route in POSTS else b"GET"
        if dice.random() < 0.15:
            method = dice.choice([b"GET", b"POST", b"PUT", b"DELETE", b"HEAD", b"OPTIONS", b"X-Y"])
        path = route.encode()
        if dice.random() < 0.3:
            path += dice.choice(
                [
                    b"?limit=",
                    b"?after=",
                    b"?name=",
                    b"?name=gwb1.json&channel=",
                    b"?t0=",
                    b"?",
                    b"/",
                    b"/../",
                    b"%00",
                    b"//",
                ]
            )
            path += dice.choice(VALUES).replace(b" ", b"")
        lines = [b"%s %s HTTP/1.1" % (method, path), b"Host: localhost"]
        for _ in range(dice.randint(0, 3)):
            name = dice.choice([
                b"Idempotency-Key", b"Content-Type", b"ce-specversion", b"ce-id", b"ce-source", b"ce-type", b"ce-time",
                b"Authorization", b"Accept", b"Expect", b"X-Any", b"Cookie", b"Range",
            ])  # fmt: skip
            value = dice.choice([
                *VALUES, b"application/json", b"application/cloudevents+json", b"application/cloudevents-batch+json",
                b"text/plain; charset=x", ARROW.encode(), NDJSON.encode(), b"1.0",
                b"eu.intertwin.datastore.segment", b"eu.intertwin.datastore.freeze",
            ])  # fmt: skip
            lines.append(name + b": " + value)
        lines.append(b"Content-Length: %d" % len(body))
        return b"\r\n".join(lines) + b"\r\n\r\n"

    def next(self, route: str) -> bytes:
        body = self.body()
        if self.dice.random() < 0.6:
            body = changed(body, self.dice)
        head = self.head(route, body)
        if self.dice.random() < 0.03:
            return changed(head, self.dice) + body
        return head + body


async def connection(urls: list[str], source: Requests, left: list[int], seen: Counter) -> None:
    reader = writer = None
    while left[0] > 0:
        left[0] -= 1
        url = urlsplit(source.dice.choice(urls))
        data = source.next(url.path)
        try:
            reader, writer = await asyncio.open_connection(url.hostname, url.port)
            writer.write(data)
            answer = await asyncio.wait_for(reader.readline(), 60)  # one that never ends is answered 408
        except OSError:
            answer = b""
        finally:
            if writer is not None:
                writer.close()
        found = re.match(rb"HTTP/1\.[01] (\d{3}) ", answer)
        seen[int(found[1]) if found else "closed without an answer"] += 1


async def send(urls: list[str], count: int, seed: int) -> Counter:
    left, source = [count], Requests(seed)
    seen: Counter = Counter()
    async with asyncio.TaskGroup() as tasks:
        for _ in range(CONNECTIONS):
            tasks.create_task(connection(urls, source, left, seen))
    return seen


def strays(root: Path) -> list[str]:
    files = (str(path.relative_to(root)) for path in root.rglob("*") if not path.is_dir())
    return [name for name in files if not BELONGS.fullmatch(name)]


def attack(topology: str, folder: Path, count: int, seed: int) -> tuple[Counter, list[str]]:
    """The statuses that were answered, and what is wrong."""
    with Store(topology, folder / topology, upper=True, MAX_SIZE="1", MAX_BODY="100000", REQUEST_TIMEOUT="2") as store:
        urls = [store.url(route) for route in sorted(FUNCTION_OF)]
        urls += [process.url + path for process in store.processes.values() for path in ("/", "/nothing", "/metrics")]
        seen = asyncio.run(send(urls, count, seed))
        wrong = [f"status {status}" for status in seen if isinstance(status, int) and status not in LISTED | OF_SERVERS]
        ended = [process.target for process in store.processes.values() if not process.alive]
        wrong += [f"{target} has ended" for target in ended]
        store.stop()  # what is under way is finished
        store.start()
        for process in store.processes.values():
            if http.request("GET", process.url + "/health/readiness").status != 200:
                wrong.append(f"{process.target} is not ready")
            if found := re.search("Traceback|unforeseen", text := process.text()):
                wrong.append(f"{process.target} logged a traceback:\n{text[max(found.start() - 500, 0) :][:4000]}")
        store.check_exact()
        store.stop()
        wrong += [f"stray file {name}" for name in strays(store.root)]
    return seen, wrong


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--count", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    total: Counter[str] = Counter()
    failures, began = [], time.monotonic()
    with tempfile.TemporaryDirectory(prefix="fuzz-http-") as folder:
        for topology in ("embedded", "split"):
            seen, wrong = attack(topology, Path(folder), given.count // 2, given.seed)
            total += seen
            failures += [f"{topology}: {what}" for what in wrong]
    print(f"requests: {total.total()} in {time.monotonic() - began:.0f} s, seed {given.seed}")
    for status, times in sorted(total.items(), key=str):
        print(f"{status}: {times}")
    print(f"wrong: {len(failures)}")
    for failure in failures:
        print(failure, file=sys.stderr)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
