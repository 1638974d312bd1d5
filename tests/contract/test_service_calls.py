"""Requests from function to function: each is heard once at the most, and answered in time, whatever the peer does."""

from __future__ import annotations

import asyncio
import datetime
import os
import re
import socket
import ssl
import subprocess
import sys
import threading
import time
from contextlib import suppress

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from shared.clients import http as transport
from shared.clients.writer import RemoteWriter
from shared.domain.commit import CommitRequest
from shared.errors import Busy, DatastoreError, OutcomeUnknown, StorageFailed
from tests.support import ROOT
from tests.support.builders import segment
from tests.support.checks import wait_for
from tests.support.servers import Process, http

CREATED = b"HTTP/1.1 201 Created\r\ncontent-length: 2\r\n\r\nok"


class Peer:
    """The service behind: a TCP server that counts, with a script for what each of its connections does."""

    def __init__(self, script):
        self.script = script
        self.heard: list[bytes] = []  # heads of requests that arrived whole
        self.open = self.most = self.connections = 0
        self._lock = threading.Lock()
        self._listening = socket.create_server(("127.0.0.1", 0), backlog=256)
        self.url = f"http://127.0.0.1:{self._listening.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        with suppress(OSError):
            while True:
                threading.Thread(target=self._serve, args=(self._listening.accept()[0],), daemon=True).start()

    def _serve(self, connection):
        with self._lock:
            self.connections += 1
            self.open += 1
            self.most = max(self.most, self.open)
        with connection, suppress(OSError):
            self.script(self, connection)
        with self._lock:
            self.open -= 1

    def hear(self, connection) -> bool:
        """Read one request; False where none comes any more."""
        data = b""
        while b"\r\n\r\n" not in data:
            if not (chunk := connection.recv(65536)):
                return False
            data += chunk
        head, _, body = data.partition(b"\r\n\r\n")
        length = re.search(rb"content-length: (\d+)", head, re.IGNORECASE)
        assert length
        while len(body) < int(length[1]):
            body += connection.recv(65536)
        self.heard.append(head)
        return True

    def close(self):
        self._listening.close()


@pytest.fixture
def peer():
    """A function that starts a peer with a script."""
    peers = []

    def start(script) -> Peer:
        peers.append(Peer(script))
        return peers[-1]

    yield start
    for one in peers:
        one.close()


def blocking(url, timeout=5.0):
    return transport.request("POST", url, {"X-Test": "1"}, b"x" * 7000, timeout)


def on_the_loop(url, timeout=5.0):
    return asyncio.run(transport.post_async(url, {"X-Test": "1"}, b"x" * 7000, timeout))


ways = pytest.mark.parametrize("post", [blocking, on_the_loop])


@ways
def test_a_connection_is_used_again(peer, post):
    def answer(self, connection):
        while self.hear(connection):
            connection.sendall(CREATED)

    behind = peer(answer)
    assert [post(behind.url)[:2] for _ in range(5)] == [(201, b"ok")] * 5
    assert (len(behind.heard), behind.connections) == (5, 1)
    assert b"\r\nX-Test: 1" in behind.heard[0]


@ways
def test_an_idle_connection_that_the_peer_closed_costs_nothing(peer, post):
    def answer_once(self, connection):
        self.hear(connection)
        connection.sendall(CREATED)

    behind = peer(answer_once)
    for _ in range(3):
        assert post(behind.url).status == 201
        wait_for(lambda: behind.open == 0)
        time.sleep(0.05)  # for the news to reach the client
    assert (len(behind.heard), behind.connections) == (3, 3)


@ways
@pytest.mark.parametrize("last", [b"", b"HTTP/1.1 201 Cre", CREATED[:-1], b"nonsense\r\n\r\n"])
def test_a_request_whose_answer_is_lost_is_not_sent_again(peer, post, last):
    """Not even on a connection that served before, where a client may believe that nobody heard it."""

    def hang_up(self, connection):
        self.hear(connection)
        connection.sendall(CREATED)
        self.hear(connection)
        connection.sendall(last)

    behind = peer(hang_up)
    assert post(behind.url).status == 201
    with pytest.raises(transport.NoResponse, match="does not answer"):
        post(behind.url)
    time.sleep(0.2)
    assert (len(behind.heard), behind.connections) == (2, 1)


@ways
@pytest.mark.parametrize("begun", [b"", b"HTTP/1.1 201 Created\r\ncontent-length: 9\r\n\r\nok"])
def test_an_answer_is_not_waited_for_longer_than_the_time_out(peer, post, begun):
    def stall(self, connection):
        self.hear(connection)
        connection.sendall(begun)
        connection.recv(1)

    behind = peer(stall)
    start = time.monotonic()
    with pytest.raises(transport.NoResponse):
        post(behind.url, 0.3)
    assert 0.25 < time.monotonic() - start < 3
    assert len(behind.heard) == 1


@ways
def test_a_redirection_is_not_followed(peer, post):
    def redirect(self, connection):
        while self.hear(connection):
            connection.sendall(f"HTTP/1.1 307 T\r\nLocation: {self.url}/\r\ncontent-length: 0\r\n\r\n".encode())

    behind = peer(redirect)
    answer = post(behind.url)
    assert (answer.status, answer.headers["location"]) == (307, f"{behind.url}/")
    assert len(behind.heard) == 1


@ways
@pytest.mark.parametrize("url", ["http://127.0.0.1:1/", "http://nowhere.invalid/", "nowhere"])
def test_where_nobody_is_nobody_answers(post, url):
    with pytest.raises(transport.NoResponse, match="does not answer"):
        post(url)


def test_connections_are_bounded_and_those_who_wait_get_one(peer):
    def slowly(self, connection):
        while self.hear(connection):
            time.sleep(0.1)
            connection.sendall(CREATED)

    async def many():
        asked = [transport.post_async(behind.url, {}, b"x", 20) for _ in range(3 * transport.CONNECTIONS)]
        return {answer.status for answer in await asyncio.gather(*asked)}

    behind = peer(slowly)
    assert asyncio.run(many()) == {201}
    assert len(behind.heard) == 3 * transport.CONNECTIONS
    assert behind.most <= transport.CONNECTIONS


def test_waiting_for_a_connection_counts_as_waiting(peer):
    def stall(self, connection):
        self.hear(connection)
        connection.recv(1)

    async def many():
        asked = [transport.post_async(behind.url, {}, b"x", 0.5) for _ in range(2 * transport.CONNECTIONS)]
        return await asyncio.gather(*asked, return_exceptions=True)

    behind = peer(stall)
    start = time.monotonic()
    assert {type(outcome) for outcome in asyncio.run(many())} == {transport.NoResponse}
    assert time.monotonic() - start < 5


# -- the writer, asked across HTTP --------------------------------------------------------------------------------


COMMIT = [CommitRequest("0" * 16, 0, 1, 0, t0=0.0, dt=1.0, samples=1)]


def answering(status: int, body: bytes, unanswered: int = 0):
    """A script that answers each request but the first ones."""

    def script(self, connection):
        self.hear(connection)
        if len(self.heard) > unanswered:
            connection.sendall(b"HTTP/1.1 %d No\r\ncontent-length: %d\r\n\r\n%s" % (status, len(body), body))

    return script


@pytest.mark.parametrize(("unanswered", "raised"), [(1, OutcomeUnknown), (0, StorageFailed)])
def test_a_refusal_after_a_try_that_was_not_answered_leaves_it_open(peer, unanswered, raised):
    """The refusal is about the repetition. The first try may have been decided: what is staged must be left alone."""
    behind = peer(answering(507, b'{"code":"ERRIO","body":"no space"}', unanswered))
    with pytest.raises(DatastoreError) as outcome:
        RemoteWriter(behind.url, timeout=5).commit(COMMIT)
    assert type(outcome.value) is raised
    assert len(behind.heard) == unanswered + 1


@pytest.mark.parametrize(
    ("status", "body", "unanswered", "raised"),
    [
        (503, b'{"code":"BUSY","body":"the lock is held"}', 0, Busy),
        (503, b'{"code":"BUSY","body":"the lock is held"}', 1, OutcomeUnknown),
        (403, b'{"code":"ERRSCOPE","body":"no"}', 0, Busy),
        (500, b'{"code":"ERRINTERNAL","body":"a crash"}', 0, OutcomeUnknown),
        (502, b"<html>a proxy", 0, OutcomeUnknown),
        (200, b"<html>a proxy", 0, OutcomeUnknown),
        (200, b"\xff", 0, OutcomeUnknown),
        (200, b"[]", 0, OutcomeUnknown),
    ],
)
def test_only_the_writers_own_refusal_says_that_nothing_was_decided(peer, status, body, unanswered, raised):
    with pytest.raises(DatastoreError) as outcome:
        RemoteWriter(peer(answering(status, body, unanswered)).url, timeout=0.5).commit(COMMIT)
    assert type(outcome.value) is raised
    assert outcome.value.code == "BUSY"


# -- as the functions use it --------------------------------------------------------------------------------------


@pytest.fixture(params=["glitchflow", "logic"])
def before(request, tmp_path):
    """A function that starts the function in front of a peer, and returns one that posts a segment to it."""
    route, base = {"glitchflow": ("/streamdata", "DS_BURL"), "logic": ("/stream", "DB_BURL")}[request.param]
    processes = []

    def start(peer, **env):
        process = Process(request.param, {"ROOT": str(tmp_path / "store"), base: peer.url, **env}, forked=True).start()
        processes.append(process)

        def post(headers=None):
            return http.request("POST", process.url + route, body=segment(300), headers=headers or {})

        post.process = process  # type: ignore[attr-defined]
        return post

    yield start
    for process in processes:
        process.stop()
        assert "Traceback" not in process.text()


def test_a_silent_service_is_a_502_in_time_and_heard_once(peer, before):
    def stall(self, connection):
        self.hear(connection)
        connection.recv(1)

    behind = peer(stall)
    # A proxy in the environment is for the way out of a site, not between functions.
    post = before(behind, UPSTREAM_TIMEOUT="0.5", HTTP_PROXY="http://127.0.0.1:1", ALL_PROXY="http://127.0.0.1:1")
    start = time.monotonic()
    answer = post()
    assert (answer.status, answer.json()["code"]) == (502, "UPSTREAM")
    assert int(answer.headers["Retry-After"]) > 0
    assert time.monotonic() - start < 5
    assert len(behind.heard) == 1


def test_a_service_that_hangs_up_is_a_502_and_heard_once(peer, before):
    def hang_up(self, connection):
        self.hear(connection)
        connection.sendall(CREATED)
        self.hear(connection)

    behind = peer(hang_up)
    post = before(behind)
    key = {"Idempotency-Key": "one of a kind"}
    assert post(key).status in (200, 201)
    assert b"\r\nIdempotency-Key: one of a kind" in behind.heard[0]
    answer = post(key)
    assert (answer.status, answer.json()["code"]) == (502, "UPSTREAM")
    assert len(behind.heard) == 2


@pytest.mark.parametrize(
    ("status", "said", "code"),
    [
        (503, b"Datastore frozen.", "FROZEN"),
        (503, b'{"code":"BUSY","body":"later"}', "BUSY"),
        (507, b'{"code":"ERRIO","body":"full"}', "ERRIO"),
        (401, b'{"code":"ERRAUTH","body":"who?"}', "UPSTREAM"),
        (500, b"<html>", "UPSTREAM"),
    ],
)
def test_what_the_service_says_is_passed_on(peer, before, status, said, code):
    def refuse(self, connection):
        while self.hear(connection):
            connection.sendall(
                b"HTTP/1.1 %d No\r\nRetry-After: 7\r\ncontent-length: %d\r\n\r\n%b" % (status, len(said), said)
            )

    answer = before(peer(refuse))()
    if code == "FROZEN":  # in the words of each, which are the original's
        assert answer.data == said or answer.json() == {"resp": "FROZEN", "body": said.decode()}
    else:
        assert (answer.status, answer.json()["code"]) == (502 if code == "UPSTREAM" else status, code)
    if answer.status != 200:
        assert answer.headers["Retry-After"] == "7"


def test_an_answer_leaves_in_one_piece(peer, before):
    """Head and body together: whoever waits for them wakes up once."""

    def answer(self, connection):
        while self.hear(connection):
            connection.sendall(CREATED)

    process = before(peer(answer)).process
    with socket.create_connection(("127.0.0.1", process.port), timeout=20) as s:
        for _ in range(50):
            s.sendall(b"GET /health/liveness HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert s.recv(65536).endswith(b"\r\n\r\nalive\n")


@pytest.fixture
def certified(peer, tmp_path):
    """A peer that answers over TLS as `localhost`; returns its port, and the file of the CA that certified it."""
    made = [tmp_path / name for name in ("ca.pem", "server.pem")]
    authority, authority_key, server_key = made[0], *(ec.generate_private_key(ec.SECP256R1()) for _ in made)
    now = datetime.datetime.now(datetime.UTC)
    issuer = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "authority")])

    def certificate(name: str, key, *extensions) -> bytes:
        builder = x509.CertificateBuilder(
            issuer, x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)]), key.public_key(),
            x509.random_serial_number(), now - datetime.timedelta(1), now + datetime.timedelta(1),
        )  # fmt: skip
        for extension in extensions:
            builder = builder.add_extension(extension, critical=False)
        return builder.sign(authority_key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)

    authority.write_bytes(certificate("authority", authority_key, x509.BasicConstraints(ca=True, path_length=None)))
    made[1].write_bytes(
        certificate("server", server_key, x509.SubjectAlternativeName([x509.DNSName("localhost")]))
        + server_key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(made[1])

    def answer(self, connection):
        with context.wrap_socket(connection, server_side=True) as secured:
            if self.hear(secured):
                secured.sendall(CREATED)

    return int(peer(answer).url.rpartition(":")[2]), authority


@pytest.mark.parametrize(
    ("host", "trusted", "answers"), [("localhost", True, True), ("localhost", False, False), ("127.0.0.1", True, False)]
)
def test_a_peers_certificate_is_checked_by_authority_and_host(certified, host, trusted, answers):
    port, authority = certified
    code = f"from shared.clients import http; print(http.post('https://{host}:{port}/', {{}}, b'x', 5)[0])"
    env = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)}
    env |= {"SSL_CERT_FILE": str(authority)} if trusted else {}
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True)
    assert done.stdout == ("201\n" if answers else ""), done.stderr
    assert ("NoResponse" in done.stderr) == (not answers)


def test_plain_http_needs_no_certificates_of_authorities(peer):
    behind = peer(lambda self, connection: self.hear(connection) and connection.sendall(CREATED))
    code = f"from shared.clients import http; print(http.post({behind.url!r}, {{}}, b'x', 5)[0])"
    bare = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)}
    bare |= {"SSL_CERT_FILE": "/nonexistent", "SSL_CERT_DIR": "/nonexistent"}
    done = subprocess.run([sys.executable, "-c", code], env=bare, capture_output=True, text=True)
    assert done.stdout == "201\n", done.stderr
