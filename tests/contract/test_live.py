"""What arrives is followed exactly: nothing twice, nothing missed, whatever ends meanwhile."""

from __future__ import annotations

import contextlib
import itertools
import json
import signal
import socket
import threading
import time
from collections.abc import Iterator

import pytest
import urllib3

from tests.support.builders import segment
from tests.support.checks import wait_for
from tests.support.load import post_all
from tests.support.servers import Store, http

BEGINNING = "gwb0.json"


@pytest.fixture
def channel() -> str:
    """A channel that no other test has: shared stores keep the archives of all of them."""
    return f"V1:LIVE-{time.monotonic_ns()}"


@contextlib.contextmanager
def opened(store: Store, query="", **headers: str) -> Iterator[urllib3.BaseHTTPResponse]:
    """A request to /live whose answer is read while it goes on."""
    answer = store.request("GET", "/live", query=query, headers=headers, preload_content=False)
    try:
        yield answer
    finally:
        answer.close()


def lines(answer) -> Iterator[dict]:
    """The messages of an answer in NDJSON."""
    rest = b""
    while chunk := answer.read1():
        *whole, rest = (rest + chunk).split(b"\n")
        yield from map(json.loads, whole)
    assert rest == b""


def events(answer) -> Iterator[dict[str, str]]:
    """The events of an answer, read as the HTML standard says: fields by name, comments left out."""
    rest = ""
    while chunk := answer.read1():
        *whole, rest = (rest + chunk.decode()).split("\n\n")
        for block in whole:
            yield dict(line.split(": ", 1) for line in block.split("\n") if not line.startswith(":"))


def segments(messages: Iterator[dict], count: int) -> list[dict]:
    """The next segments, without heartbeats."""
    return list(itertools.islice((message for message in messages if "name" in message), count))


def test_a_stored_segment_is_told_to_all_who_follow_its_channel(store, channel):
    with (
        opened(store, f"?channel={channel}-*") as first,
        opened(store, f"?format=ndjson&samples=true&channel={channel}-[bc]") as second,
        opened(store, Accept="application/x-ndjson") as third,
    ):
        assert first.headers["Content-Type"] == "text/event-stream"
        assert second.headers["Content-Type"] == third.headers["Content-Type"] == "application/x-ndjson"
        told, told_with_samples, told_all = events(first), lines(second), lines(third)
        begin = next(told)
        assert begin.keys() == {"retry", "id"}
        assert next(told_with_samples).keys() == next(told_all).keys() == {"after"}
        names = [store.stored(segment(4, t0=100.0, dt=0.25, channel=f"{channel}-{letter}")) for letter in "abcd"]
        batch = json.loads(store.journal.read_text().splitlines()[0])["batch"]

        found = list(itertools.islice(told, 4))
        assert [one["id"] for one in found] == names
        rows = [json.loads(one["data"]) for one in found]
        assert rows[0] == {
            "name": names[0], "batch": batch, "detector": "V1", "channel": f"{channel}-a",
            "t0": 100.0, "dt": 0.25, "n": 4,
        }  # fmt: skip
        assert segments(told_all, 4) == rows
        h = json.loads(segment(4))["h"]
        assert segments(told_with_samples, 2) == [{**row, "h": h} for row in rows[1:3]]

    with opened(store, f"?format=ndjson&channel={channel}*&after={names[1]}") as again:
        assert [row["name"] for row in segments(lines(again), 2)] == names[2:]
    # A browser connects to the same address again; where it was is in the header.
    with opened(store, f"?channel={channel}*&after={names[0]}", **{"Last-Event-ID": names[2]}) as again:
        following = events(again)
        assert next(following)["id"] == names[2]
        assert next(following)["id"] == names[3]
    head = store.request("HEAD", "/live")
    assert (head.status, head.headers["Content-Type"], head.data) == (200, "text/event-stream", b"")


@pytest.mark.parametrize(("query", "status", "code", "says"), [
    ("after=x", 400, "ERRFMT", "/dumpF"),
    ("after=../gwb1.json", 400, "ERRFMT", "/dumpF"),
    ("channel=" + "*a" * 129, 400, "ERRFMT", "256"),
    ("samples=1", 400, "ERRFMT", "false, true"),
    ("format=csv", 406, "ERRACCEPT", "sse, ndjson"),
])  # fmt: skip
def test_what_cannot_be_followed_says_what_would_work(store, query, status, code, says):
    answer = store.request("GET", "/live", query=f"?{query}")
    assert (answer.status, answer.json()["code"]) == (status, code)
    assert says in answer.json()["body"]


def test_a_damaged_file_is_told_and_the_next_ones_follow(store, channel):
    sent = segment(8, t0=100.0, channel=channel)
    name, following = store.stored(sent), store.stored(sent)
    (store.data / name).write_bytes(sent.replace(b"2e-21", b"3e-21"))
    with opened(store, f"?format=ndjson&samples=true&channel={channel}&after={BEGINNING}") as answer:
        damaged, whole = segments(lines(answer), 2)
    assert (damaged["name"], damaged["h"], damaged["error"]["code"]) == (name, None, "ERRDATA")
    assert (whole["name"], whole["h"]) == (following, json.loads(sent)["h"])
    (store.data / name).write_bytes(sent)


class Follower(threading.Thread):
    """A client that connects again where it was, whenever the connection ends."""

    def __init__(self, store: Store, query: str) -> None:
        super().__init__()
        self.store, self.query = store, query
        self.rows: list[dict] = []
        self.after = BEGINNING
        self.connections = 0
        self.done = False

    def run(self) -> None:
        while not self.done:
            try:
                with opened(self.store, self.query, **{"Last-Event-ID": self.after}) as answer:
                    if answer.status != 200:
                        time.sleep(0.05)
                        continue
                    self.connections += 1
                    for message in lines(answer):
                        self.after = message.get("name") or message["after"]
                        if "name" in message:
                            self.rows.append(message)
                        if self.done:
                            return
            except (urllib3.exceptions.HTTPError, OSError):
                time.sleep(0.05)


def test_followed_exactly_across_kill_9_and_cleanalls_while_segments_stream_in(new_store, topology):
    store = new_store(topology)
    store.url("/live")  # split: starts strain
    followers = [Follower(store, "?format=ndjson&samples=true"), Follower(store, "?format=ndjson&channel=V1:1")]
    for follower in followers:
        follower.start()
    stop = threading.Event()

    def send(number: int) -> None:
        bodies = (
            (f"{number}-{i}", segment(4, t0=float(i), dt=0.25, channel=f"V1:{number}")) for i in itertools.count()
        )
        post_all(store.url("/sendF"), bodies, 4, retry=True, stop=stop.is_set)

    senders = [threading.Thread(target=send, args=(number,)) for number in (1, 2)]
    for sender in senders:
        sender.start()
    try:
        for action in ("cleanall", "kill", "cleanall", "kill the reader's", "cleanall"):
            count = len(followers[0].rows)
            wait_for(lambda: len(followers[0].rows) > count + 150)  # noqa: B023
            if action == "cleanall":
                wait_for(lambda: store.cleanall().status == 201)
            else:
                process = store.processes["strain"] if "reader" in action and topology == "split" else store.writer
                process.kill()
                process.start("/health/readiness")
    finally:
        stop.set()
        for sender in senders:
            sender.join()
        journals = [*(archive / "LogStream.json" for archive in store.archives()), store.journal]
        records = [json.loads(line) for journal in journals for line in journal.read_text().splitlines()]
        stored = [(r["name"], r["channel"], r["t0"]) for r in records if r["message"] == "Write file"]
        expected = [stored, [entry for entry in stored if entry[1] == "V1:1"]]
        with contextlib.suppress(AssertionError):  # the comparison below says more
            wait_for(lambda: all(len(f.rows) >= len(e) for f, e in zip(followers, expected, strict=True)), 10)
        for follower in followers:
            follower.done = True
        extra = store.stored(segment(4, channel="V1:1"))  # which wakes both
        for follower in followers:
            follower.join()
    assert len(store.archives()) == 3
    assert min(follower.connections for follower in followers) > 1
    for follower, entries in zip(followers, expected, strict=True):
        assert len(entries) > 300
        told = [(row["name"], row["channel"], row["t0"]) for row in follower.rows if row["name"] != extra]
        assert told == entries
    h = json.loads(segment(4))["h"]
    assert all(row["h"] == h for row in followers[0].rows)


# -- limits -------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """A store that takes two readers, which may fall twenty segments behind."""
    root = tmp_path_factory.mktemp("live")
    with Store("embedded", root, forked=True, LIVE_READERS="2", LIVE_BACKLOG="20") as store:
        yield store


def test_readers_are_counted(alone):
    def follow():
        return alone.request("GET", "/live", query="?format=ndjson", preload_content=False)

    first, second = follow(), follow()
    third = http.request("GET", alone.url("/live"))
    assert (third.status, third.json()["code"], third.headers["Retry-After"]) == (503, "BUSY", "1")
    assert "LIVE_READERS" in third.json()["body"]
    first.close()
    with contextlib.ExitStack() as stack:
        stack.callback(second.close)

        def admitted() -> bool:
            answer = follow()
            stack.callback(answer.close)
            return answer.status == 200

        wait_for(admitted)


def opened_slowly(port: int) -> socket.socket:
    """A connection to /live on which little is read; what others have closed may still count for a moment."""
    while True:
        reader = socket.create_connection(("127.0.0.1", port), timeout=30)
        reader.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 16)
        reader.sendall(b"GET /live?format=ndjson&samples=true HTTP/1.1\r\nHost: localhost\r\n\r\n")
        status = reader.recv(12)
        if status == b"HTTP/1.1 200":
            return reader
        reader.close()
        assert status == b"HTTP/1.1 503"


def test_a_reader_that_does_not_read_is_cut_off_and_told_where_to_go_on(alone):
    with opened_slowly(alone.writer.port) as reader:
        names = [alone.stored(segment(4000))]
        received = b""
        while names[0].encode() not in received:
            received += reader.recv(1 << 16)
        bodies = [("", segment(4000))] * 170  # 12 MB: more than the kernel holds, and some
        names += sorted(sent.name for sent in post_all(alone.url("/sendF"), bodies, 4))
        while not received.endswith(b"0\r\n\r\n"):
            received += (more := reader.recv(1 << 20))
            assert more, "the connection was lost"
    messages = [json.loads(line) for line in received.split(b"\n") if line.startswith(b"{") and line.endswith(b"}")]
    last = messages.pop()
    told = [message["name"] for message in messages if "name" in message]
    assert last["code"] == "BEHIND"
    assert "LIVE_BACKLOG" in last["body"]
    assert told == names[: len(told)]
    assert 0 < len(told) < len(names)
    with opened(alone, f"?format=ndjson&after={last['after']}") as answer:
        assert [row["name"] for row in segments(lines(answer), len(names) - len(told))] == names[len(told) :]


def test_a_store_that_is_told_to_stop_ends_its_streams(alone):
    with opened(alone, "?format=ndjson") as answer:
        messages = lines(answer)
        next(messages)
        alone.writer.signal(signal.SIGTERM)
        assert list(messages) == []  # the end, and no lost connection
    assert alone.writer.wait_dead() in (0, -signal.SIGTERM)
    assert "exceeded" not in alone.writer.text()  # what uvicorn says when it had to cancel a response


def test_a_block_is_told_channel_by_channel_and_resumed_inside_it(store, channel):
    lines_of = [segment(4, t0=100.0, dt=0.25, detector="V1", channel=f"V1:{channel}-{i}") for i in range(5)]
    with opened(store, f"?format=ndjson&samples=true&channel=V1:{channel}-*") as answer:
        messages = lines(answer)
        begin = next(messages)["after"]
        name = store.stored(b"\n".join(lines_of), {"Content-Type": "application/x-ndjson"})
        told = segments(messages, 5)
    assert [(one["name"], one["channel"]) for one in told] == [(name, f"V1:{channel}-{i}") for i in range(5)]
    assert [one["h"] for one in told] == [json.loads(line)["h"] for line in lines_of]
    assert [one.get("after", name) for one in told] == [*(f"{name}:{i}" for i in range(1, 5)), name]
    for number, after in enumerate([begin, *(f"{name}:{i}" for i in range(1, 5))]):
        with opened(store, f"?format=ndjson&channel=V1:{channel}-*&after={after}") as answer:
            assert [one["channel"] for one in segments(lines(answer), 5 - number)] == [
                f"V1:{channel}-{i}" for i in range(number, 5)
            ]
