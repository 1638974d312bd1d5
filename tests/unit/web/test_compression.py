"""gzip in requests and responses."""

from __future__ import annotations

import gzip
import json
import zlib

import pytest

from shared.errors import BadRequest, BodyTooLarge, UnsupportedCoding
from shared.web.compression import accepts_gzip, compressed, inflate, is_gzip
from shared.web.messages import Response, json_list

ACCEPTED = {"accept-encoding": "gzip, deflate"}
LONG = json.dumps(list(range(2000))).encode()


def nothing(length: int) -> None:
    pass


@pytest.mark.parametrize("size", [0, 1, 65536, 65537, 3_000_000])
@pytest.mark.parametrize("level", [0, 1, 9])
def test_a_body_is_inflated_to_what_was_compressed(size, level):
    body = (b"0.123456789," * (size // 12 + 1))[:size]
    assert inflate(gzip.compress(body, level), nothing) == body


def test_a_bomb_is_refused_before_it_is_inflated():
    bomb = gzip.compress(bytes(100 << 20))
    seen = []

    def reserve(length):
        seen.append(length)
        if length > 1 << 20:
            raise BodyTooLarge("")

    with pytest.raises(BodyTooLarge):
        inflate(bomb, reserve)
    assert seen == sorted(seen)
    assert max(seen) <= (1 << 20) + (64 << 10)


@pytest.mark.parametrize("body", [
    b"", b"{}", gzip.compress(LONG)[:-1], gzip.compress(LONG)[:40], gzip.compress(LONG) + b"x",
    gzip.compress(b"{}") * 2, zlib.compress(LONG), gzip.compress(LONG)[:-5] + b"\0\0\0\0\0",
], ids=["nothing", "plain", "cut", "cut early", "longer", "two", "zlib", "checksum"])  # fmt: skip
def test_what_is_no_single_whole_gzip_is_refused(body):
    with pytest.raises(BadRequest):
        inflate(body, nothing)


def test_codings():
    assert [is_gzip(coding) for coding in ("gzip", " GZIP ", "x-gzip", "identity", "")] == [True] * 3 + [False] * 2
    for coding in ("zstd", "br", "deflate", "gzip, gzip"):
        with pytest.raises(UnsupportedCoding) as refused:
            is_gzip(coding)
        assert refused.value.headers == {"Accept-Encoding": "gzip"}


@pytest.mark.parametrize(("header", "accepted"), [
    ("gzip", True), ("deflate, gzip;q=0.5", True), ("*", True), ("*;q=0.1, br", True),
    ("", False), ("br", False), ("gzip;q=0", False), ("gzip; q=0.000, *", False), ("identity", False),
])  # fmt: skip
def test_accept_encoding(header, accepted):
    assert accepts_gzip(header) == accepted


def test_a_long_response_is_compressed_if_the_client_accepts_it():
    plain = compressed(Response(LONG), "GET", {})
    assert (plain.body, plain.headers) == (LONG, {"Vary": "Accept-Encoding"})
    packed = compressed(Response(LONG, headers={"ETag": '"x"', "Accept-Ranges": "bytes"}), "GET", ACCEPTED)
    assert isinstance(packed.body, bytes)
    assert gzip.decompress(packed.body) == LONG
    assert packed.headers == {"Vary": "Accept-Encoding", "Content-Encoding": "gzip", "ETag": 'W/"x"'}


@pytest.mark.parametrize("size", [100, 200_000])
def test_a_list_is_compressed_while_it_is_streamed(size):
    packed = compressed(json_list(b"%d" % i for i in range(size)), "GET", ACCEPTED)
    assert not isinstance(packed.body, bytes)
    assert json.loads(gzip.decompress(b"".join(packed.body))) == list(range(size))


@pytest.mark.parametrize("response", [
    Response(LONG, 206, headers={"Content-Range": "bytes 0-1/2"}), Response(LONG, type="image/png"),
    Response(LONG, 400),
    Response(LONG, headers={"Content-Encoding": "gzip"}), Response(iter([LONG]), type="text/event-stream"),
], ids=["part", "picture", "error", "compressed", "events"])  # fmt: skip
def test_parts_pictures_events_and_what_is_compressed_are_left(response):
    assert compressed(response, "GET", ACCEPTED) is response
