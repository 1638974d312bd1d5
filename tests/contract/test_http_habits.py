"""HTTP's own habits: compressed bodies, identifiers of requests, links, caches, pages of other sites that may read."""

from __future__ import annotations

import gzip
import hashlib
import json
from urllib.parse import urljoin

import pytest
from backports import zstd

from tests.support.builders import segment
from tests.support.servers import Process, Store, http

GZIP = {"Content-Encoding": "gzip"}
ZSTD = {"Content-Encoding": "zstd"}
CODINGS = pytest.mark.parametrize(
    ("compress", "coding"), [(gzip.compress, GZIP), (zstd.compress, ZSTD)], ids=["gzip", "zstd"]
)
ACCEPT = {"Accept-Encoding": "gzip"}
# A frame of 16,000 blocks that each repeat a byte 131071 times: 2 GB from 64 kB (RFC 8878, 3.1.1).
ENDLESS = b"\x28\xb5\x2f\xfd\x00\x58" + (0x1FFFF << 3 | 1 << 1).to_bytes(3, "little").join([b"", *[b"\0"] * 16_000])
SITE = "https://lab.example.org"


@pytest.fixture(scope="module", params=["embedded", "split"])
def store(request, tmp_path_factory):
    root = tmp_path_factory.mktemp(f"habits-{request.param}") / "store"
    env = {"MAX_BODY": "100000", "MAX_BODIES": "300000", "CORS_ORIGINS": SITE}
    with Store(request.param, root, upper=True, forked=True, **env) as store:
        yield store


@pytest.fixture
def clean(store):
    assert store.cleanall().status == 201
    return store


# -- compressed bodies -----------------------------------------------------------------------------------------------


@CODINGS
def test_a_compressed_segment_is_stored_as_it_was_before(clean, compress, coding):
    body = segment(2000)
    answer = clean.send(compress(body), coding)
    assert answer.status == 201, answer.data
    assert list(clean.files().values()) == [body]
    assert clean.check_exact() == {"n_itm": 1, "buff_size": len(body)}


@CODINGS
@pytest.mark.parametrize(("route", "status"), [("/streamdata", 200), ("/stream", 201)])
def test_every_service_takes_compressed_segments(clean, route, status, compress, coding):
    body = segment(7)
    assert clean.request("POST", route, compress(body), coding).status == status
    assert list(clean.files().values()) == [body]


@CODINGS
def test_an_event_may_be_compressed(clean, compress, coding):
    event = {
        "specversion": "1.0", "type": "eu.intertwin.datastore.segment", "source": "/test",
        "id": coding["Content-Encoding"], "data": json.loads(segment(11)),
    }  # fmt: skip
    headers = {"Content-Type": "application/cloudevents+json", **coding}
    for _ in range(2):
        assert clean.send(compress(json.dumps(event).encode()), headers).status == 204
    assert clean.check_exact()["n_itm"] == 1


def test_a_key_stands_for_the_segment_however_it_is_sent(clean):
    key = {"Idempotency-Key": "either-way"}
    first = clean.send(segment(9), key)
    assert clean.send(gzip.compress(segment(9)), {**key, **GZIP}).data == first.data
    assert clean.send(zstd.compress(segment(9)), {**key, **ZSTD}).data == first.data
    assert clean.stat()["n_itm"] == 1


@CODINGS
@pytest.mark.parametrize("route", ["/sendF", "/upddsc", "/cleanall"])
def test_a_bomb_is_too_large(clean, route, compress, coding):
    for size in (100_001, 90_000_000 if coding is GZIP else 2_000_000_000):
        bomb = compress(bytes(size)) if size < 1e9 else ENDLESS
        answer = clean.request("POST", route, bomb, coding)
        assert (answer.status, answer.json()["code"]) == (413, "ERRSIZE")
    assert clean.stat()["n_itm"] == 0
    # The memory has been returned: the budget holds three such bodies, not forty.
    for _ in range(40):
        assert clean.send(segment(3000), {}).status == 201
        assert clean.request("POST", route, compress(b" " * 200_000), coding).status == 413


@pytest.mark.parametrize("route", ["/sendF", "/upddsc"])
@pytest.mark.parametrize("coding", ["br", "deflate", "gzip, zstd"])
def test_other_codings_are_refused_with_those_that_are_taken(store, route, coding):
    answer = store.request("POST", route, segment(), {"Content-Encoding": coding})
    assert (answer.status, answer.json()["code"]) == (415, "ERRENCODING")
    assert answer.headers["Accept-Encoding"] == "gzip, zstd"


@CODINGS
@pytest.mark.parametrize("wrong", ["nothing", "plain", "cut", "longer", "twice"])
def test_a_body_that_is_not_what_it_says_is_refused(clean, wrong, compress, coding):
    whole = compress(segment(400))
    bodies = {"nothing": b"", "plain": segment(), "cut": whole[:-9], "longer": whole + b"x", "twice": whole * 2}
    answer = clean.send(bodies[wrong], coding)
    assert (answer.status, answer.json()["code"]) == (400, "ERRFMT")
    assert coding["Content-Encoding"].encode() in answer.data
    assert clean.stat()["n_itm"] == 0


def test_long_answers_are_compressed_when_asked(clean):
    for i in range(40):
        clean.stored(segment(200, t0=1e9 + i))
    [name, *_] = clean.names()
    for route, query in [("/dumpF", ""), ("/dumpLogF", ""), ("/segment", f"?name={name}"), ("/dumpbuf", "")]:
        plain = clean.request("GET", route, query=query)
        packed = clean.request("GET", route, query=query, headers=ACCEPT, decode_content=False)
        assert plain.headers.get("Content-Encoding") is None
        assert packed.headers["Content-Encoding"] == "gzip"
        assert "Accept-Encoding" in plain.headers["Vary"]
        assert "Accept-Encoding" in packed.headers["Vary"]
        assert gzip.decompress(packed.data) == plain.data
        assert len(packed.data) < len(plain.data)
    assert "Content-Encoding" not in clean.request("GET", "/stat", headers=ACCEPT).headers


def test_strain_is_compressed_as_text_and_whole_only(clean):
    clean.stored(segment(2000, t0=1e9, channel="V1:Hrec_hoft"))
    query = "?channel=V1:Hrec_hoft&start=1000000000&duration=0.01&gaps=nan&format="
    plain = clean.request("GET", "/strain", query=query + "csv")
    assert plain.status == 200, plain.data
    packed = clean.request("GET", "/strain", query=query + "csv", headers=ACCEPT, decode_content=False)
    assert gzip.decompress(packed.data) == plain.data
    assert packed.headers["ETag"] == "W/" + plain.headers["ETag"]
    again = {"If-None-Match": packed.headers["ETag"], **ACCEPT}
    assert clean.request("GET", "/strain", query=query + "csv", headers=again).status == 304
    mixed = {"Range": "bytes=5-", "If-Range": packed.headers["ETag"], **ACCEPT}
    assert clean.request("GET", "/strain", query=query + "csv", headers=mixed).status == 200
    part = {"Range": "bytes=0-1500", **ACCEPT}
    assert clean.request("GET", "/strain", query=query + "npy", headers=part).status == 206
    binary = clean.request("GET", "/strain", query=query + "npy", headers=ACCEPT, decode_content=False)
    assert "Content-Encoding" not in binary.headers


# -- identifiers, links, caches -------------------------------------------------------------------------------------


@pytest.mark.parametrize("route", ["/stat", "/dumpF", "/bufstat", "/stats"])
def test_the_identifier_of_a_request_is_returned(store, route):
    assert store.request("GET", route, headers={"X-Request-ID": "a-1.b:c"}).headers["X-Request-ID"] == "a-1.b:c"
    assert "X-Request-ID" not in store.request("GET", route).headers


@pytest.mark.parametrize("route", ["/sendF", "/upddsc"])
def test_a_refusal_and_its_line_in_the_log_have_the_same_identifier(new_store, topology, route):
    store = new_store(topology)
    made = store.request("POST", route, b"no", {}).headers["X-Request-ID"]
    given = store.request("POST", route, b"no", {"X-Request-ID": f"mine{route}"}).headers["X-Request-ID"]
    unusable = store.request("POST", route, b"no", {"X-Request-ID": "x" * 129}).headers["X-Request-ID"]
    assert given == f"mine{route}"
    assert len({made, unusable}) == 2
    assert len(unusable) < 40
    log = "".join(process.text() for process in store.processes.values())
    for identifier in (made, given, unusable):
        assert f"request {identifier}" in log


def test_a_stored_segment_is_where_its_answer_says(clean):
    body = segment(3)
    location = clean.send(body).headers["Location"]
    found = clean.request("GET", "/segment", query=location.removeprefix("/segment"))
    assert (found.status, found.data) == (200, body)


@pytest.mark.parametrize("route", ["/dumpF", "/dumpLogF"])
def test_links_lead_through_all_pages(clean, route):
    names = [clean.stored(segment(2, t0=1e9 + i)) for i in range(6)]
    found: list[str] = []
    url = clean.url(route) + "?limit=2"
    for _ in range(3):
        answer = http.request("GET", url)
        page = answer.json()
        found += page["nmlist"] if route == "/dumpF" else [entry["name"] for entry in page]
        link = answer.headers.get("Link")
        if link is not None:
            assert link.endswith('>; rel="next"')
            url = urljoin(url, link[1:].partition(">")[0])
    assert (found, link) == (names, None)
    assert "Link" not in clean.request("GET", route).headers


def test_channels_are_linked_page_by_page(clean):
    for i in range(3):
        clean.stored(segment(2, t0=1e9, channel=f"V1:C{i}"))
    url, found = clean.url("/channels") + "?limit=1&channel=V1:C?", []
    while url:
        answer = http.request("GET", url)
        found += [row["channel"] for row in answer.json()["channels"]]
        link = answer.headers.get("Link", "")
        url = urljoin(url, link[1:].partition(">")[0]) if link else ""
    assert found == ["V1:C0", "V1:C1", "V1:C2"]


@pytest.mark.parametrize("route", ["/", "/docs"])
def test_pages_and_their_scripts_are_not_sent_twice(store, route):
    asset = {"/": "assets/status.js", "/docs": "docs/swagger-ui-bundle.js"}[route]
    for url in (store.url(route), urljoin(store.url(route), asset)):
        for coding in ({}, ACCEPT):
            first = http.request("GET", url, headers=coding, decode_content=False)
            assert first.headers["Cache-Control"]
            assert first.headers.get("Content-Encoding") == ("gzip" if coding else None)
            again = http.request("GET", url, headers={**coding, "If-None-Match": first.headers["ETag"]})
            assert (again.status, again.data) == (304, b"")


def test_errors_end_their_line_and_say_what_to_do(store):
    nan = store.send(b'{"h":[1,NaN],"t":[1,0.1]}')
    assert "leave the sample out" in nan.json()["body"]
    for answer in (nan, store.request("POST", "/streamdata", b"{"), store.request("POST", "/upddsc", b"5")):
        assert answer.status in (400, 422)
        assert answer.data.endswith(b"}\n")


# -- pages of other sites -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("route", ["/stat", "/upddsc"])
def test_a_browser_may_ask_for_reading_only(store, route):
    ask = {"Origin": SITE, "Access-Control-Request-Method": "GET", "Access-Control-Request-Headers": "authorization"}
    granted = store.request("OPTIONS", route, headers={**ask, "Sec-Fetch-Site": "cross-site"})
    assert granted.status == 204
    assert granted.headers["Access-Control-Allow-Origin"] == SITE
    assert granted.headers["Access-Control-Allow-Methods"] == "GET, HEAD"
    assert "Authorization" in granted.headers["Access-Control-Allow-Headers"]
    assert "Access-Control-Allow-Credentials" not in granted.headers
    for other in ({"Access-Control-Request-Method": "POST"}, {"Origin": "https://evil.example"}, {"Origin": "null"}):
        answer = store.request("OPTIONS", route, headers={**ask, **other})
        assert answer.status in (403, 405)
        assert "Access-Control-Allow-Origin" not in answer.headers


def test_a_listed_site_reads_and_never_writes(clean):
    page = {"Origin": SITE, "Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "cors"}
    read = clean.request("GET", "/stat", headers=page)
    assert (read.status, read.headers["Access-Control-Allow-Origin"]) == (200, SITE)
    assert "Origin" in read.headers["Vary"]
    assert "Origin" in clean.request("GET", "/stat").headers["Vary"]
    missing = clean.request("GET", "/segment", query="?name=gwb1.json", headers=page)
    assert (missing.status, missing.headers["Access-Control-Allow-Origin"]) == (404, SITE)
    for route, body in [("/sendF", segment()), ("/upddsc", b"{}"), ("/cleanall", b"")]:
        refused = clean.request("POST", route, body, page)
        assert (refused.status, refused.json()["code"]) == (403, "ERRORIGIN")
        assert "Access-Control-Allow-Origin" not in refused.headers
    assert clean.stat()["n_itm"] == 0
    assert clean.dstat()["dstatus"] == "OPERATIONAL"
    for other in ("https://evil.example", f"{SITE}.evil.example", "null", "http://lab.example.org"):
        assert clean.request("GET", "/stat", headers={**page, "Origin": other}).status == 403


def test_with_credentials_a_listed_site_reads_with_its_users_token(tmp_path):
    (tmp_path / "tokens").write_text(f"sha256:{hashlib.sha256(b'hers').hexdigest()} ada read\n")
    env = {"ROOT": str(tmp_path / "store"), "PREPROC": "off", "CORS_ORIGINS": SITE}
    process = Process("datastore", {**env, "AUTH_TOKENS": str(tmp_path / "tokens")}, forked=True).start()
    try:
        page = {"Origin": SITE}
        ask = {**page, "Access-Control-Request-Method": "GET", "Access-Control-Request-Headers": "authorization"}
        assert http.request("OPTIONS", process.url + "/stat", headers=ask).status == 204
        refused = http.request("GET", process.url + "/stat", headers=page)
        assert (refused.status, refused.headers["Access-Control-Allow-Origin"]) == (401, SITE)
        read = http.request("GET", process.url + "/stat", headers={**page, "Authorization": "Bearer hers"})
        assert (read.status, json.loads(read.data)["n_itm"]) == (200, 0)
    finally:
        process.stop()


def test_without_the_setting_nothing_is_granted(new_store, topology):
    store = new_store(topology)
    ask = {"Origin": SITE, "Access-Control-Request-Method": "GET"}
    assert store.request("OPTIONS", "/stat", headers=ask).status == 403
    assert store.request("GET", "/stat", headers={"Origin": SITE}).status == 403
    assert "Vary" not in store.request("GET", "/stat").headers


def test_a_stream_without_an_end_keeps_its_identifier_and_goes_on(clean):
    headers = {"X-Request-ID": "live-1", "Origin": SITE, **ACCEPT}
    answer = http.request("GET", clean.url("/live"), headers=headers, preload_content=False)
    try:
        assert (answer.status, answer.headers["X-Request-ID"]) == (200, "live-1")
        assert "Content-Encoding" not in answer.headers
        assert answer.read(1)
        name = clean.stored(segment(3)).encode()
        seen = b""
        while name not in seen:
            seen += answer.read1(4096) if hasattr(answer, "read1") else answer.read(1)
    finally:
        answer.close()
