"""What clients without credentials may cost: never the place of those who have some, and never for long."""

from __future__ import annotations

import contextlib
import json
import socket
from collections.abc import Iterator

import pytest

from tests.contract.test_access_table import SECRETS, bearer, secured
from tests.support.builders import segment
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
