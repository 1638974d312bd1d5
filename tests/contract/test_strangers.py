"""What clients without credentials may cost: never the place of those who have some, and never for long."""

from __future__ import annotations

import contextlib
import json
import select
import socket
from collections.abc import Iterator

import pytest
import urllib3

from tests.contract.test_access_table import SECRETS, bearer, secured
from tests.support.builders import segment
from tests.support.checks import wait_for
from tests.support.servers import FUNCTION_OF, Process, Store

# A route that reads credentials from the body, and one at the same function for those who have credentials.
BY_BODY = (("/train", "/streamdata", "write"), ("/freezeds", "/stream", "write"), ("/upddsc", "/upddsc", "operate"))


@pytest.fixture(scope="module", params=["embedded", "split"])
def store(request, tmp_path_factory):
    """Authentication is on, and there is room for few bodies."""
    folder = tmp_path_factory.mktemp(f"strangers-{request.param}")
    env = {"MAX_BODY": "65536", "MAX_BODIES": "65536", **secured(folder / "etc")}
    with Store(request.param, folder / "store", upper=True, **env) as store:
        yield store


def process_of(store: Store, route: str) -> Process:
    return store.processes["datastore" if store.topology == "embedded" else FUNCTION_OF[route]]


@contextlib.contextmanager
def held(store: Store, route: str, declared: int, sent: int, count: int) -> Iterator[list[socket.socket]]:
    """Connections with a request whose body has arrived in part."""
    connections = []
    with contextlib.ExitStack() as stack:
        for _ in range(count):
            s = socket.create_connection(("127.0.0.1", process_of(store, route).port), timeout=20)
            connections.append(stack.enter_context(s))
            s.sendall(
                f"POST {route} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {declared}\r\n\r\n".encode() + b" " * sent
            )
        yield connections


def status_of(connection: socket.socket) -> int:
    return int(connection.recv(65536).split()[1])


# -- memory for bodies ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("route", "other", "scope"), BY_BODY)
def test_a_declared_length_takes_no_room(store, route, other, scope):
    body = segment(500) if scope == "write" else json.dumps({"user": "u", "token": "t", "dstatus": "OPERATIONAL"})
    with held(store, route, 65536, 0, 8), held(store, route, 16384, 0, 8):
        answer = store.request("POST", other, body, bearer(SECRETS[scope]))
        assert answer.status in (200, 201), answer.data


def test_a_declared_length_takes_no_room_without_authentication(new_store, topology):
    store = new_store(topology, MAX_BODY="65536", MAX_BODIES="65536")
    with held(store, "/sendF", 65000, 0, 8):
        assert store.send(segment(500)).status == 201


@pytest.mark.parametrize("route", ["/train", "/freezeds"])
def test_those_with_credentials_keep_half_of_the_room(store, route):
    """Two strangers' bodies, nearly whole, take the other half; a third one finds no room."""
    other = {"/train": "/streamdata", "/freezeds": "/stream"}[route]
    with held(store, route, 16384, 16383, 2) as holders, held(store, route, 16384, 16383, 1) as [late]:
        assert status_of(late) == 503
        answer = store.request("POST", other, segment(1200), bearer(SECRETS["write"]))
        assert answer.status in (200, 201), answer.data
        for connection in holders:
            connection.sendall(b" ")
            assert status_of(connection) == 401


@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize("route", ["/train", "/freezeds", "/upddsc", "/cleanbuf", "/flushbuf", "/cleanall"])
def test_a_body_that_carries_no_segment_is_short(store, route, chunked):
    headers = bearer(SECRETS["operate"])
    for length, refused in ((16384, False), (16385, True)):
        body = b" " * length
        answer = store.request("POST", route, iter([body]) if chunked else body, headers)
        assert (answer.status == 413) == refused, answer.data


# -- threads --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "sent", [b"", b"POST /upd", b"POST /upddsc HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\n"]
)
def test_slow_requests_do_not_delay_a_freeze(store, sent):
    """It is answered while all of them are still open: none was closed to make room for it."""
    with contextlib.ExitStack() as stack:
        slow = []
        for _ in range(40):
            s = socket.create_connection(("127.0.0.1", process_of(store, "/upddsc").port), timeout=20)
            slow.append(stack.enter_context(s))
            s.sendall(sent)
        body = json.dumps({"user": "u", "token": "t", "dstatus": "OPERATIONAL"})
        assert store.request("POST", "/upddsc", body, bearer(SECRETS["operate"])).status == 201
        assert not select.select(slow, [], [], 0)[0]


# -- connections ----------------------------------------------------------------------------------------------------


def open_connections(process: Process, count: int, stack: contextlib.ExitStack) -> list[socket.socket]:
    return [stack.enter_context(socket.create_connection(("127.0.0.1", process.port), 20)) for _ in range(count)]


def closed(connections: list[socket.socket]) -> int:
    return len(select.select(connections, [], [], 0)[0])


@pytest.mark.parametrize("route", ["/sendF", "/stat"])
def test_strangers_do_not_keep_those_with_credentials_out(new_store, topology, tmp_path, route):
    store = new_store(topology, MAX_CONNECTIONS="64", **secured(tmp_path / "etc"))
    process = process_of(store, route)
    method, body, scope = ("POST", segment(), "write") if route == "/sendF" else ("GET", None, "read")
    with contextlib.ExitStack() as stack:

        def new_client() -> urllib3.HTTPConnectionPool:
            pool = urllib3.HTTPConnectionPool("127.0.0.1", process.port, retries=False, timeout=20)
            return stack.enter_context(contextlib.closing(pool))

        def status(client: urllib3.HTTPConnectionPool) -> int:
            return client.request(method, route, body=body, headers=bearer(SECRETS[scope])).status

        first = new_client()
        assert status(first) in (200, 201)
        strangers = open_connections(process, 300, stack)
        wait_for(lambda: closed(strangers) >= 300 - 32)
        known = [first]
        for _ in range(20):
            known.append(new_client())
            assert status(known[-1]) in (200, 201)
        # Those that were let in stay, over the same connections, however many strangers come.
        strangers += open_connections(process, 300, stack)
        wait_for(lambda: closed(strangers) >= 600 - 32)
        for client in known:
            assert status(client) in (200, 201)
            assert client.num_connections == 1
        # They may have all of the room. Whoever comes then is refused.
        for _ in range(64 - len(known)):
            known.append(new_client())
            assert status(known[-1]) in (200, 201), (len(known), closed(strangers))
        wait_for(lambda: closed(strangers) == 600)
        answer = store.request(method, route, body, bearer(SECRETS[scope]))
        assert (answer.status, answer.json()["code"], answer.headers["Retry-After"]) == (503, "BUSY", "1")
        for client in known:
            assert status(client) in (200, 201)
            assert client.num_connections == 1
