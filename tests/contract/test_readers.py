"""Clients that do not read their answers: they are cut off, and what was kept for them is free again."""

from __future__ import annotations

import contextlib
import json
import select
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.populate import fill
from tests.support.builders import segment
from tests.support.checks import wait_for
from tests.support.servers import FUNCTION_OF, Process, Store

GONE = select.POLLERR | select.POLLHUP | select.POLLRDHUP
LONG = segment(300_000)


@pytest.fixture(scope="module", params=["embedded", "split"])
def store(request, tmp_path_factory):
    """A batch whose log is longer than the kernel keeps for a connection, and one segment that is."""
    root = tmp_path_factory.mktemp(f"readers-{request.param}") / "store"
    fill(root, 5_000)
    with Store(request.param, root, REQUEST_TIMEOUT="1", forked=True) as store:
        yield store


@contextlib.contextmanager
def silent(process: Process, requests: bytes, count: int) -> Iterator[list[socket.socket]]:
    """Clients that send these requests and read nothing."""
    with contextlib.ExitStack() as stack:
        clients = []
        for _ in range(count):
            s = stack.enter_context(socket.socket())
            # Less is then kept between the two ends.
            s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            s.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, 536)
            s.connect(("127.0.0.1", process.port))
            s.setblocking(False)
            with contextlib.suppress(BlockingIOError, ConnectionError):
                s.send(requests)
            clients.append(s)
        yield clients


def all_gone(clients: list[socket.socket]) -> bool:
    poll = select.poll()
    for client in clients:
        poll.register(client, GONE)
    return len(poll.poll(0)) == len(clients)


def process_of(store: Store, route: str) -> Process:
    return store.processes["datastore" if store.topology == "embedded" else FUNCTION_OF[route]]


def resident(process: Process) -> int:
    """Memory of a process, bytes."""
    pages = Path(f"/proc/{process.process.pid}/statm").read_text().split()[1]
    return int(pages) * 4096


def get(route: str) -> bytes:
    return f"GET {route} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()


def test_a_log_that_nobody_reads(store):
    with silent(process_of(store, "/dumpLogF"), get("/dumpLogF"), 50) as clients:
        wait_for(lambda: all_gone(clients))
    assert len(store.logged()) >= 5_000


def test_the_memory_of_segments_that_nobody_reads_returns(store):
    name = store.stored(LONG)
    process = process_of(store, "/segment")
    assert store.request("GET", "/segment", query=f"?name={name}").data == LONG
    before = resident(process)
    with silent(process, get(f"/segment?name={name}"), 40) as clients:
        most = 0

        def gone() -> bool:
            nonlocal most
            most = max(most, resident(process) - before)
            return all_gone(clients)

        wait_for(gone)
    assert most > 20 * len(LONG)  # it has been there
    wait_for(lambda: resident(process) - before < 10 * len(LONG))


def test_a_slow_reader_that_reads_is_kept(store):
    name = store.stored(LONG)
    with socket.socket() as s:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        s.settimeout(20)
        s.connect(("127.0.0.1", process_of(store, "/segment").port))
        s.sendall(get(f"/segment?name={name}"))
        received = b""
        while len(received) < len(LONG):
            more = s.recv(len(LONG) // 100)
            assert more
            received += more
            time.sleep(0.03)  # so that it takes as long as three timeouts
        body = received.partition(b"\r\n\r\n")[2]
        while len(body) < len(LONG):
            body += s.recv(65536)
        assert body == LONG


def test_one_that_reads_a_little_is_cut_off(store):
    """Less than 1 KiB a second, though it never stops."""
    name = store.stored(LONG)
    with silent(process_of(store, "/segment"), get(f"/segment?name={name}"), 1) as [client]:

        def gone() -> bool:
            with contextlib.suppress(BlockingIOError, ConnectionError):
                client.recv(10)
            return all_gone([client])

        wait_for(gone)


def test_freezes_go_on_while_clients_do_not_read(store):
    """More of them than a function has threads, each with more answers than fit between it and the server."""
    with silent(process_of(store, "/upddsc"), get("/metrics") * 100, 70) as clients:
        body = json.dumps({"user": "u", "token": "t", "dstatus": "OPERATIONAL"})

        def freeze_and_look() -> bool:
            assert store.request("POST", "/upddsc", body).status == 201
            return all_gone(clients)

        wait_for(freeze_and_look, timeout=60)
