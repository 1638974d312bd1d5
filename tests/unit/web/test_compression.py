"""gzip and zstd in requests, gzip in responses."""

from __future__ import annotations

import gzip
import json
import random
import zlib

import pytest
from backports import zstd

from shared.errors import BadRequest, BodyTooLarge, UnsupportedCoding
from shared.web.compression import accepts_gzip, coding_of, compressed, inflate
from shared.web.messages import Response, json_list

ACCEPTED = {"accept-encoding": "gzip, deflate"}
LONG = json.dumps(list(range(2000))).encode()


def packed_by_zstd(body):
    return zstd.compress(body, options={zstd.CompressionParameter.checksum_flag: 1})


COMPRESS = {"gzip": gzip.compress, "zstd": packed_by_zstd}


def nothing(length: int) -> None:
    pass


@pytest.mark.parametrize("size", [0, 1, 65536, 65537, 3_000_000])
@pytest.mark.parametrize("level", [0, 1, 9])
def test_a_body_is_inflated_to_what_was_compressed(size, level):
    body = (b"0.123456789," * (size // 12 + 1))[:size]
    assert inflate(gzip.compress(body, level), "gzip", nothing) == body
    assert inflate(zstd.compress(body, level), "zstd", nothing) == body


@pytest.mark.parametrize("coding", COMPRESS)
def test_noise_is_inflated_too(coding):
    body = random.Random(1).randbytes(200_000)
    assert inflate(COMPRESS[coding](body), coding, nothing) == body


@pytest.mark.parametrize("coding", COMPRESS)
def test_a_bomb_is_refused_before_it_is_inflated(coding):
    bomb = COMPRESS[coding](bytes(100 << 20))
    seen = []

    def reserve(length):
        seen.append(length)
        if length > 1 << 20:
            raise BodyTooLarge("")

    with pytest.raises(BodyTooLarge):
        inflate(bomb, coding, reserve)
    assert seen == sorted(seen)
    assert max(seen) <= (1 << 20) + (64 << 10)


@pytest.mark.parametrize("coding", COMPRESS)
@pytest.mark.parametrize("spoil", [
    lambda whole: b"", lambda whole: b"{}", lambda whole: whole[:-1], lambda whole: whole[:40],
    lambda whole: whole + b"x", lambda whole: whole * 2, lambda whole: whole[:-5] + b"\0\0\0\0\0",
    lambda whole: whole + bytes(200_000), lambda whole: zlib.compress(LONG),
], ids=["nothing", "plain", "cut", "cut early", "longer", "two", "checksum", "much longer", "zlib"])  # fmt: skip
def test_what_is_not_a_single_whole_one_is_refused(coding, spoil):
    with pytest.raises(BadRequest, match=coding):
        inflate(spoil(COMPRESS[coding](LONG)), coding, nothing)


def test_a_zstd_frame_may_not_take_more_memory_than_clients_are_told():
    def frame(log: int) -> bytes:
        parameter = zstd.CompressionParameter
        options: dict[int, int] = {
            parameter.window_log: log,
            parameter.content_size_flag: 0,
            parameter.compression_level: 1,
        }
        packer = zstd.ZstdCompressor(options=options)  # given in parts, so that the frame does not say its length
        return packer.compress(LONG) + packer.compress(LONG) + packer.flush()

    assert inflate(frame(23), "zstd", nothing) == LONG * 2
    with pytest.raises(BadRequest):
        inflate(frame(24), "zstd", nothing)


def test_codings():
    assert [coding_of(header) for header in ("gzip", " GZIP ", "x-gzip", "zstd", "identity", "")] == [
        "gzip", "gzip", "gzip", "zstd", "", "",
    ]  # fmt: skip
    for header in ("br", "deflate", "gzip, gzip", "zstd, gzip"):
        with pytest.raises(UnsupportedCoding) as refused:
            coding_of(header)
        assert refused.value.headers == {"Accept-Encoding": "gzip, zstd"}


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
