"""Offers to upgrade the connection are ignored (RFC 9110, 7.8): a body is a body, however its bytes arrive."""

from __future__ import annotations

import contextlib
import json
import re
import shutil
import socket
import subprocess
import time

import pytest

from tests.support.builders import segment
from tests.support.servers import Process

OFFERS = {
    "h2c": "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAoAAAAAIAAAAA\r\n",
    "websocket": "Connection: upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: eA==\r\n",
    "kept": "Connection: keep-alive, Upgrade\r\nUpgrade: foo/2, bar\r\n",
    "two lines": "Connection: keep-alive\r\nConnection: Upgrade\r\nUpgrade: a\r\nUpgrade: b\r\n",
}
offers = pytest.mark.parametrize("offer", OFFERS.values(), ids=OFFERS)
SMUGGLED = b"POST /cleanall HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n"


def answers(process: Process, *packets: bytes, wanted: int) -> list[tuple[int, bytes]]:
    """Status and body of the answers to these packets, each sent by itself."""
    with socket.create_connection(("127.0.0.1", process.port), timeout=20) as s:
        s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for packet in packets:
            s.sendall(packet)
            time.sleep(0.05)  # so that the server reads each by itself
        found: list[tuple[int, bytes]] = []
        received = b""
        while len(found) < wanted:
            head, end, rest = received.partition(b"\r\n\r\n")
            length = re.search(rb"(?i)content-length: (\d+)", head)
            if end and len(rest) >= (size := int(length[1]) if length else 0):
                status = int(head.split()[1])
                received = rest[size:]
                if status != 100:
                    found.append((status, rest[:size]))
                continue
            more = s.recv(65536)
            if not more:
                break
            received += more
        s.settimeout(0.3)
        with contextlib.suppress(TimeoutError):
            received += s.recv(65536)
        assert not received, received  # an answer to what nobody has asked
        return found


def head(offer: str, framing: str, route="/sendF", version="1.1") -> bytes:
    return f"POST {route} HTTP/{version}\r\nHost: localhost\r\n{offer}{framing}\r\n\r\n".encode()


def chunked(body: bytes) -> list[bytes]:
    half = len(body) // 2
    return [b"%x\r\n%s\r\n" % (len(part), part) for part in (body[:half], body[half:])] + [b"0\r\n\r\n"]


@offers
@pytest.mark.parametrize("apart", [True, False])
def test_a_body_of_declared_length(store, offer, apart):
    body = segment()
    packets = [head(offer, f"Content-Length: {len(body)}"), body]
    [(status, _)] = answers(store.ingest, *(packets if apart else [b"".join(packets)]), wanted=1)
    assert status == 201
    assert store.stat()["n_itm"] == 1


@offers
@pytest.mark.parametrize("apart", [True, False])
def test_a_chunked_body(store, offer, apart):
    packets = [head(offer, "Transfer-Encoding: chunked"), *chunked(segment())]
    [(status, _)] = answers(store.ingest, *(packets if apart else [b"".join(packets)]), wanted=1)
    assert status == 201
    assert store.stat()["n_itm"] == 1


@offers
def test_a_head_in_pieces(store, offer):
    body = segment()
    whole = head(offer, f"Content-Length: {len(body)}")
    cuts = [whole[i : i + 25] for i in range(0, len(whole), 25)]
    [(status, _)] = answers(store.ingest, *cuts, body, wanted=1)
    assert status == 201


@offers
@pytest.mark.parametrize("framing", ["length", "chunked"])
def test_a_body_that_looks_like_a_request_is_not_executed(store, offer, framing):
    assert store.send(segment()).status == 201
    if framing == "length":
        packets = [head(offer, f"Content-Length: {len(SMUGGLED)}"), SMUGGLED]
    else:
        packets = [head(offer, "Transfer-Encoding: chunked"), *chunked(SMUGGLED)]
    [(status, body)] = answers(store.ingest, *packets, wanted=1)
    assert status == 400, body
    assert json.loads(body)["code"] == "ERRFMT"
    assert store.stat()["n_itm"] == 1


@offers
def test_requests_behind_it_on_the_same_connection(store, offer):
    """In one packet, and each by itself; the second offers an upgrade too, the third does not."""
    bodies = [segment(t0=float(i)) for i in (1, 2, 3)]
    requests = []
    for body, given in zip(bodies, (offer, offer, ""), strict=True):
        requests += [head(given, f"Content-Length: {len(body)}"), body]
    for packets in (requests, [b"".join(requests)]):
        found = answers(store.ingest, *packets, wanted=3)
        assert [status for status, _ in found] == [201] * 3
    assert store.stat()["n_itm"] == 6


@offers
def test_a_client_that_waits_for_100_continue(store, offer):
    body = segment()
    packets = [head(offer + "Expect: 100-continue\r\n", f"Content-Length: {len(body)}"), body]
    [(status, _)] = answers(store.ingest, *packets, wanted=1)
    assert status == 201


def test_many_in_one_packet(store):
    request = b"GET /health/liveness HTTP/1.1\r\nConnection:upgrade\r\nUpgrade:a\r\n\r\n"
    found = answers(store.ingest, request * 450, wanted=450)
    assert found == [(200, b"alive\n")] * 450


@pytest.mark.skipif(not shutil.which("curl"), reason="needs curl")
@pytest.mark.parametrize("more", [[], ["-H", "Transfer-Encoding: chunked"]])
def test_curl_with_http2(store, more):
    """Which offers h2c by itself; the embedded store and every function of the split one answer in HTTP/1.1."""
    show = ["-s", "-o", "/dev/null", "-w", "%{http_code}"]
    for route, body, status in (("/sendF", segment(100), "201"), ("/upddsc", b'{"user":"u","token":"t"}', "201")):
        command = ["curl", "--http2", *show, *more, "--data-binary", "@-", store.url(route)]
        assert subprocess.run(command, input=body, capture_output=True, timeout=20).stdout.decode() == status


def test_an_older_version(store):
    body = segment()
    packets = [head(OFFERS["h2c"], f"Content-Length: {len(body)}", version="1.0"), body]
    [(status, _)] = answers(store.ingest, *packets, wanted=1)
    assert status == 201


@pytest.mark.parametrize("target", ["x:80", "/sendF", "http://x/sendF"])
def test_no_tunnel(store, target):
    """What follows CONNECT is no request, because the client takes it for the tunnel's content."""
    packets = [f"CONNECT {target} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode(), SMUGGLED]
    assert store.send(segment()).status == 201
    found = answers(store.ingest, *packets, wanted=2)
    assert [status // 100 for status, _ in found] == [4]
    assert store.stat()["n_itm"] == 1


def test_a_refused_offer_closes_the_connection_with_nothing_behind_it_executed(store):
    """Both framings at once are refused, with the offer as without it."""
    framing = f"Content-Length: {len(SMUGGLED)}\r\nTransfer-Encoding: chunked"
    assert store.send(segment()).status == 201
    found = answers(store.ingest, head(OFFERS["h2c"], framing), SMUGGLED, wanted=2)
    assert [status for status, _ in found] == [400]
    assert store.stat()["n_itm"] == 1
