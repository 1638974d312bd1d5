"""Every bound of docs/security.md: what is beyond it is refused with a clear answer, and the store goes on."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import struct
import threading
import time
from pathlib import Path

import pytest

from tests.support.builders import segment
from tests.support.servers import Process, Store, http


@pytest.fixture(scope="module", params=["embedded", "split"])
def store(request, tmp_path_factory):
    env = {"MAX_SAMPLES": "1000", "MAX_PAGE": "5", "MAX_HEADER": "4000", "MAX_BODY": "100000", "MAX_BODIES": "100000"}
    root = tmp_path_factory.mktemp(f"limits-{request.param}") / "store"
    with Store(request.param, root, **env, REQUEST_TIMEOUT="1") as store:
        yield store


def raw(process: Process, data: bytes, timeout=20.0) -> bytes:
    """What is answered to these bytes until the connection is closed."""
    with socket.create_connection(("127.0.0.1", process.port), timeout=timeout) as s:
        s.sendall(data)
        answer = b""
        while chunk := s.recv(65536):
            answer += chunk
        return answer


def test_samples(store):
    assert store.send(segment(1001)).status == 400
    assert b"1000" in store.send(segment(1001)).data
    assert store.send(segment(1000)).status == 201


def test_body(store):
    for route in ("/sendF", "/upddsc", "/cleanall"):
        answer = store.request("POST", route, b" " * 100_001)
        assert (answer.status, answer.json()["code"]) == (413, "ERRSIZE")


@pytest.mark.parametrize("opening", [b"[", b'{"h":[', b'{"a":'])
def test_depth(store, opening):
    for route in ("/sendF", "/upddsc"):
        answer = store.request("POST", route, (opening * 10_000)[: 50_000 if route == "/sendF" else 16_384])
        assert (answer.status, answer.json()["code"]) == (400, "ERRFMT")


def test_pages(store):
    for route in ("/dumpF", "/dumpLogF"):
        for limit in ("6", "9" * 18, "9" * 400):
            answer = store.request("GET", route, query=f"?limit={limit}")
            assert (answer.status, answer.json()["code"]) == (400, "ERRFMT")
        assert store.request("GET", route, query="?limit=5").status in (200, 204)


@pytest.mark.parametrize("whole", [True, False])
def test_head(store, whole):
    end = b"\r\n\r\n" if whole else b""
    answer = raw(store.ingest, b"GET /health/liveness HTTP/1.1\r\nHost: localhost\r\nX: " + b"x" * 5000 + end)
    assert answer.startswith(b"HTTP/1.1 431 ")
    assert b"ERRHEADER" in answer
    many = b"".join(b"X-%d: 1\r\n" % i for i in range(1000))
    assert raw(store.ingest, b"GET /health/liveness HTTP/1.1\r\nHost: localhost\r\n" + many + end).startswith(
        b"HTTP/1.1 431 "
    )
    if store.topology == "split" and whole:
        for head in (b"X: " + b"x" * 5000, many):
            answer = raw(store.processes["stats"], b"GET /stat HTTP/1.1\r\nHost: localhost\r\n" + head + end)
            assert answer.split()[1] in (b"400", b"431")
    assert store.request("GET", "/stat").status == 200


@pytest.mark.parametrize("what", ["requests", "body"])
def test_a_head_that_begins_behind_other_requests(store, what):
    """More bytes than a head may have arrive together, but its own are few."""
    probe = b"GET /health/liveness HTTP/1.1\r\nHost: localhost\r\n\r\n"
    body = segment(900)
    post = b"POST /sendF HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)
    before = probe * 100 if what == "requests" else post
    assert len(before) > 4000
    with socket.create_connection(("127.0.0.1", store.ingest.port), timeout=20) as s:
        s.sendall(before + probe[:20])
        answer = s.recv(1 << 20)  # before the rest is sent
        s.sendall(probe[20:-2] + b"Connection: close\r\n\r\n")
        while more := s.recv(1 << 20):
            answer += more
    expected = [b"200"] * 101 if what == "requests" else [b"201", b"200"]
    assert [part.split()[0] for part in answer.split(b"HTTP/1.1 ")[1:]] == expected


def test_a_long_head_that_begins_behind_another_request(store):
    probe = b"GET /health/liveness HTTP/1.1\r\nHost: localhost\r\n"
    with socket.create_connection(("127.0.0.1", store.ingest.port), timeout=20) as s:
        s.sendall(probe + b"\r\n" + probe + b"X: " + b"x" * 3000)
        answer = s.recv(1 << 20)
        with contextlib.suppress(ConnectionError):
            s.sendall(b"x" * 2000 + b"\r\n\r\n")
            while more := s.recv(1 << 20):
                answer += more
    assert [part.split()[0] for part in answer.split(b"HTTP/1.1 ")[1:]] == [b"200", b"431"]


def test_what_a_connection_refuses_itself_is_logged(new_store):
    store = new_store("embedded", REQUEST_TIMEOUT="0.5", MAX_HEADER="4000")
    raw(store.writer, b"POST /sendF HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\n")
    raw(store.writer, b"POST /sendF HTTP/1.1\r\nHost: localhost\r\nX: " + b"x" * 5000 + b"\r\n\r\n")
    raw(store.writer, b"GET /stat HTTP/1.1\r\nHost: localhost\r\nX: " + b"x" * 5000)
    raw(store.writer, b"nonsense\r\n\r\n")
    refused = [line for line in store.writer.text().splitlines() if "refused" in line]
    for status, code, count in ((408, "ERRSLOW", 1), (431, "ERRHEADER", 2), (400, "ERRFMT", 1)):
        lines = [line for line in refused if f": {status} " in line]
        assert len(lines) == count, refused
        assert all(code in line and "127.0.0.1" in line for line in lines)


def test_a_body_that_trickles(store):
    """Each byte comes in time, the whole does not."""
    for route in ("/sendF", "/upddsc"):
        name = "datastore" if store.topology == "embedded" else {"/sendF": "ingest", "/upddsc": "freeze"}[route]
        answer = b""
        with socket.create_connection(("127.0.0.1", store.processes[name].port), timeout=0.2) as s:
            s.sendall(f"POST {route} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\n".encode())
            deadline = time.monotonic() + 20
            while not answer:
                assert time.monotonic() < deadline
                s.sendall(b" ")
                with contextlib.suppress(TimeoutError):
                    answer = s.recv(65536) or b"closed"
            s.settimeout(20)
            while b"ERRSLOW" not in answer and (more := s.recv(65536)):
                answer += more
        assert answer.startswith(b"HTTP/1.1 408 "), answer
        assert b"ERRSLOW" in answer


@pytest.mark.parametrize("begun", [b"", b"GET /stat HT", b"GET /stat HTTP/1.1\r\nHost: localhost\r\n"])
def test_a_head_that_never_ends(store, begun):
    answer = raw(store.ingest, begun)  # returns, since the connection is closed
    assert answer.startswith(b"HTTP/1.1 408 ")


def test_slow_clients_do_not_keep_others_out(store):
    """More of them than a function has threads."""
    name = "datastore" if store.topology == "embedded" else "freeze"
    slow = []
    try:
        for _ in range(40):
            s = socket.create_connection(("127.0.0.1", store.processes[name].port))
            s.sendall(b"POST /upddsc HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\n{")
            slow.append(s)
        url = store.processes[name].url + "/health/liveness"
        assert http.request("GET", url, timeout=20).status == 200
    finally:
        for s in slow:
            s.close()


def test_bodies_together(store):
    """The first body, once its bytes are here, takes nearly all the room; a second waits until it is gone."""
    deadline = time.monotonic() + 20
    answer = None
    while answer is None or answer.status != 503:
        assert time.monotonic() < deadline
        with socket.create_connection(("127.0.0.1", store.ingest.port)) as s:
            s.sendall(b"POST /sendF HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99999\r\n\r\n[" + b" " * 99_000)
            time.sleep(0.05)
            answer = store.send(segment(900))
    assert answer.json()["code"] == "BUSY"
    assert "Retry-After" in answer.headers
    while store.send(segment(900)).status != 201:
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_connections(new_store, tmp_path):
    store = new_store("embedded", MAX_CONNECTIONS="5")
    held = [socket.create_connection(("127.0.0.1", store.ingest.port)) for _ in range(8)]
    try:
        assert (
            raw(store.ingest, b"GET /stat HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").split()[1]
            == b"503"
        )
    finally:
        for s in held:
            s.close()
    deadline = time.monotonic() + 20
    while b" 200 " not in raw(store.ingest, b"GET /stat HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"):
        assert time.monotonic() < deadline


def peak(process: Process) -> int:
    """The most memory a process has had, bytes."""
    status = Path(f"/proc/{process.process.pid}/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) * 1024


def test_memory_stays_bounded_under_a_flood_of_the_longest_bodies(topology, new_store):
    """64 connections with 8 MB each are 512 MB of bodies, and of numbers, if they were kept, four times that."""
    store = new_store(topology, MAX_SAMPLES=str(1 << 23))
    h = ",".join(["1"] * ((8 << 20) // 2 - 100))
    body = f'{{"h":[{h}],"t":[1e9,1e-4]}}'.encode()
    assert (8 << 20) - 1000 < len(body) <= 8 << 20
    before = peak(store.ingest)
    statuses = []

    def send():
        try:
            statuses.append(store.send(body).status)
        except Exception as error:  # refused before all of it was sent
            statuses.append(type(error).__name__)

    threads = [threading.Thread(target=send) for _ in range(64)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert 201 in statuses
    assert 503 in statuses
    assert set(statuses) <= {201, 503, "ProtocolError"}, statuses
    # Room for 64 MB of bodies twice (as they arrive, and joined), and for the numbers of one at a time.
    assert peak(store.ingest) - before < 512 << 20
    assert store.check_exact()["n_itm"] == statuses.count(201)


# -- links ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("what", ["link", "pipe", "folder"])
def test_what_is_planted_in_the_data_folder_is_not_followed(new_store, tmp_path, what):
    secret = tmp_path / "secret"
    secret.write_text("for nobody")
    store = new_store("split")
    name = store.stored(segment())
    path = store.data / name
    path.unlink()
    if what == "link":
        path.symlink_to(secret)
    elif what == "pipe":
        os.mkfifo(path)
    else:
        path.mkdir()
    answer = store.request("GET", "/segment", query=f"?name={name}", timeout=10)
    assert answer.status == 507
    assert b"for nobody" not in answer.data


def test_what_is_planted_among_the_products_is_not_followed(new_store, tmp_path):
    secret = tmp_path / "elsewhere" / "secret"
    secret.parent.mkdir()
    secret.write_text("for nobody")
    store = new_store("embedded")
    products = store.root / "datavar" / "products"
    names = ["link", "folder/secret", "../../secret", str(secret), "plain"]
    manifest = {"batch": 1, "n_itm": 0, "buff_size": 0, "verdict": "done", "time": "", "streams": [], "unusable": [],
                "parameters": {}, "versions": {},
                "files": [{"name": n, "size": 1, "sha256": ""} for n in names]}  # fmt: skip
    products.mkdir()
    (products / "manifest.json").write_text(json.dumps(manifest))
    (products / "plain").write_text("for all")
    (products / "link").symlink_to(secret)
    (products / "folder").symlink_to(secret.parent)
    for planted in names[:-1]:
        assert http.request("GET", f"{store.writer.url}/products/{planted}").status == 404
    assert http.request("GET", f"{store.writer.url}/products/plain").data == b"for all"


def test_views_are_not_written_through_a_link(new_store, tmp_path):
    victim = tmp_path / "victim"
    victim.write_text("mine")
    store = new_store("embedded")
    tally = store.views[0].with_name("tally")
    tally.unlink()
    tally.symlink_to(victim)
    for view in store.views:
        view.with_name(view.name + ".next").symlink_to(victim)
    assert store.send(segment()).status == 201  # of which the journal knows
    assert store.freeze().status == 507
    assert victim.read_text() == "mine"


def test_a_connection_that_is_closed_before_it_is_answered_leaves_no_traceback(new_store):
    store = new_store("embedded")
    request = b"GET /stat HTTP/1.1\r\nHost: localhost\r\n\r\n"
    for more in (
        b"",
        request,
        b"\0nonsense\r\n\r\n",
    ):  # after the last the server closes, its first answer yet to be sent
        for reset in (True, False):
            with socket.create_connection(("127.0.0.1", store.writer.port), timeout=0.2) as connection:
                if reset:
                    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                connection.sendall(request + more)
                with contextlib.suppress(TimeoutError):
                    while not reset and connection.recv(4096):
                        pass
    assert store.stat()["n_itm"] == 0
    assert "Traceback" not in store.writer.text()
