"""The protocols of gwdatafind, DQSEGDB and GWOSC over a few streams, and signed URLs."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping
from fractions import Fraction
from types import MappingProxyType
from typing import Any

import pytest

from functions.strain import datafind, dqsegdb, gwosc
from functions.strain.file_urls import FileUrls
from shared import config, web
from shared.config import AuthConfig, Limits
from shared.domain.frame_names import FrameFile, Key
from shared.errors import BadRequest, NoSuchFile, Unauthenticated

G = 1126259446
CHANNEL = "V1:Hrec_hoft_16384Hz"
TAG = "V1_Hrec_hoft_16384Hz"
HOST = {"host": "store.example.org"}
KEY = "k" * 32


Spans = list[tuple[Fraction, Fraction]]
STREAMS: dict[Key, Spans] = {
    ("V1", CHANNEL, 16384.0): [(Fraction(G), Fraction(G + 100)), (G + Fraction(205, 2), Fraction(G + 120))],
    ("L1", "L1:LOSC_4KHZ_R1", 4096.0): [(Fraction(G), Fraction(G + 3))],
}


class Streams:
    """An index of the streams above."""

    def known(self):
        return tuple(STREAMS)

    def extent(self, key):
        return STREAMS[key][0][0], STREAMS[key][-1][1]

    def spans(self, key, start=None, end=None):
        for first, last in STREAMS[key]:
            low, high = max(first, start or first), min(last, end or last)
            if low < high:
                yield low, high


def served(**settings) -> web.App:
    urls = FileUrls(config.StrainConfig(**settings))

    def catalog():
        return contextlib.nullcontext(Streams())

    routes = {
        **datafind.routes(catalog, urls.of_type, 64),
        **dqsegdb.routes(catalog),
        **gwosc.routes(catalog, urls.gwosc, 64),
    }
    return web.App(routes, lambda: None, Limits(), AuthConfig())


def respond(app: web.App, path: str, headers, query: Mapping[str, str] = MappingProxyType({})) -> web.Response:
    handler: Any = app.handler("GET", path)
    return handler(web.Request("GET", path, headers, query=query))


def get(app: web.App, target: str, headers=HOST):
    path, _, query = target.partition("?")
    pairs = dict(pair.split("=", 1) for pair in query.split("&")) if query else {}
    response = respond(app, path, headers, pairs)
    body = response.body if isinstance(response.body, bytes) else b"".join(response.body)
    assert response.status == 200
    return json.loads(body)


@pytest.fixture(scope="module")
def app() -> web.App:
    return served()


def names(urls: list[str]) -> list[str]:
    return [url.rsplit("/", 1)[1] for url in urls]


# -- gwdatafind -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("prefix", datafind.PREFIXES)
def test_what_there_is(app, prefix):
    assert get(app, f"{prefix}/gwf.json") == ["L", "V"]
    assert get(app, f"{prefix}/gwf/all.json") == ["L1_LOSC_4KHZ_R1", TAG]
    assert get(app, f"{prefix}/hdf5/V.json") == [TAG]
    assert get(app, f"{prefix}/gwf/H/R/1,2") == []
    assert get(app, f"{prefix}/gwf/V/{TAG}/segments.json") == [[G, G + 100], [G + 103, G + 120]]
    assert get(app, f"{prefix}/gwf/V/{TAG}/segments/{G + 50}.5,{G + 110}.json") == [
        [G + 50, G + 100],
        [G + 103, G + 110],
    ]
    assert get(app, f"{prefix}/gwf/V/Unknown/segments.json") == []
    with pytest.raises(BadRequest, match="no strain of observatory"):
        get(app, f"{prefix}/gwf/Q.json")
    with pytest.raises(NoSuchFile, match="choose one of gwf"):
        get(app, f"{prefix}/txt/all.json")


def test_files(app):
    at = f"/api/v1/gwf/V/{TAG}"
    spans = [(G, 10), (G + 10, 64), (G + 74, 26), (G + 103, 17)]
    expected = [f"V-{TAG}-{start}-{duration}.gwf" for start, duration in spans]
    urls = get(app, f"{at}/{G},{G + 110}.json")
    assert names(urls) == expected
    assert urls[0] == f"http://store.example.org/data/V/{TAG}/{expected[0]}"
    assert get(app, f"{at}/{G + 100},{G + 103}.json") == []
    assert get(app, f"{at}/{G + 5},{G + 4}.json") == []
    assert get(app, f"{at}/0,9999999999.json") == get(app, f"{at}/{G},{G + 120}.json")
    assert get(app, f"/api/v1/gwf/V/Other/{G},{G + 110}.json") == []
    assert names(get(app, f"{at}/latest.json")) == expected[-1:]
    assert get(app, "/api/v1/gwf/V/Other/latest.json") == []
    assert names(get(app, f"{at}/V-{TAG}-{G + 7}-9.gwf.json")) == [f"V-{TAG}-{G + 7}-9.gwf"]  # any seconds are a file
    assert get(app, f"{at}/V-{TAG}-{G + 95}-9.gwf.json") == []
    assert get(app, f"{at}/V-{TAG}-{G}-9.hdf5.json") == []
    for wrong in ("1,x", "-1,5", "1e9,2e9", "nan,inf"):
        with pytest.raises(BadRequest, match="GPS"):
            get(app, f"{at}/{wrong}.json")


@pytest.mark.parametrize(
    ("settings", "headers", "urltype", "begins"),
    [
        ({}, HOST, "", "http://store.example.org/data/"),
        ({}, HOST, "http", "http://store.example.org/data/"),
        ({}, HOST, "https", None),
        ({}, HOST, "osdf", None),
        ({}, HOST, "file", "http://store.example.org/data/"),
        ({}, {**HOST, "x-forwarded-proto": "https"}, "https", "https://store.example.org/data/"),
        ({"public_url": "https://strain.example.org/base/"}, HOST, "", "https://strain.example.org/base/data/"),
        ({"datafind_file": "none"}, HOST, "file", None),
        ({"datafind_file": "/virgo/strain"}, HOST, "file", "file://localhost/virgo/strain/V/"),
        ({"datafind_file": "/virgo/strain"}, HOST, "http", "http://store.example.org/data/"),
    ],
)
def test_types_of_urls(settings, headers, urltype, begins):
    path = f"/api/v1/gwf/V/{TAG}/{G},{G + 1}" + (f"/{urltype}" if urltype else "")
    urls = get(served(**settings), f"{path}.json", headers)
    assert [url.startswith(begins) for url in urls] == ([True] if begins else [])


@pytest.mark.parametrize("host", ["", "evil.org/x", "a b", "h:123456", "h\n"])
def test_a_host_that_is_none_makes_no_url(app, host):
    with pytest.raises(BadRequest, match="PUBLIC_URL"):
        get(app, f"/api/v1/gwf/V/{TAG}/{G},{G + 1}.json", {"host": host})


def test_match_is_plain_text(app):
    at = f"/api/v1/gwf/V/{TAG}/{G},{G + 1}.json"
    for match in ("example.org", ".*Hrec.*", "store\\.example"):
        assert len(get(app, f"{at}?match={match}")) == 1
    assert get(app, f"{at}?match=archive") == []
    for match in ("(a+)+$", "a|b", "[a]", "x" * 257):
        with pytest.raises(BadRequest, match="plain text"):
            get(app, f"{at}?match={match}")


# -- DQSEGDB --------------------------------------------------------------------------------------------------------


def test_flags(app):
    assert get(app, "/dq")["Ifos"] == ["L1", "V1"]
    assert get(app, "/dq/V1")["results"] == ["Hrec_hoft_16384Hz-AVAILABLE"]
    flag = "/dq/V1/Hrec_hoft_16384Hz-AVAILABLE"
    assert get(app, flag) == {"version": [1], "resource_type": "version", "query_information": {}}
    found = get(app, f"{flag}/1?s={G + 50}&e={G + 110}&include=active,known,metadata")
    assert found["known"] == [[G + 50, G + 110]]
    assert found["active"] == [[G + 50, G + 100], [G + 102.5, G + 110]]
    assert not found["metadata"]["active_indicates_ifo_badness"]
    assert get(app, f"{flag}/1")["known"] == [[G, G + 120]]
    assert "known" not in get(app, f"{flag}/1/active")
    for path in ("/dq/Q1", "/dq/V1/Other", f"{flag}/2", f"{flag}/1/report", f"{flag}/1/active/x"):
        with pytest.raises(NoSuchFile):
            get(app, path)
    for query in ("s=5&e=5", "s=x", "e=-1"):
        with pytest.raises(BadRequest):
            get(app, f"{flag}/1?{query}")


# -- GWOSC ----------------------------------------------------------------------------------------------------------


def test_runs(app):
    assert get(app, f"/api/v2/event-versions?min-gps-time={G}&max-gps-time={G}")["results"] == []
    assert get(app, "/api/v2/catalogs")["num_pages"] == 1
    runs = get(app, "/api/v2/runs")["results"]
    assert runs == [
        {"name": TAG, "gps_start": G, "gps_end": G + 120, "detectors": ["V1"]},
        {"name": "L1_LOSC_4KHZR1", "gps_start": G, "gps_end": G + 3, "detectors": ["L1"]},
    ]
    assert get(app, f"/api/v2/runs/{TAG}") == runs[0]
    with pytest.raises(NoSuchFile):
        get(app, "/api/v2/runs/O1/strain-files")


def test_strain_files(app):
    at = f"/api/v2/runs/{TAG}/strain-files"
    results = get(app, f"{at}?detector=V1&start={G}&stop={G + 30}&sample-rate=16")["results"]
    assert results[0]["hdf5_url"] == f"http://store.example.org/data/gwosc/V/{TAG}/V-{TAG}-{G}-10.hdf5"
    assert results[0]["sample_rate_kHz"] == 16
    assert get(app, f"{at}?sample-rate=16384")["results_count"] == get(app, at)["results_count"] == 4
    assert get(app, f"{at}?sample-rate=4")["results"] == get(app, f"{at}?detector=H1")["results"] == []
    for query in ("start=x", "sample-rate=fast"):
        with pytest.raises(BadRequest):
            get(app, f"{at}?{query}")


# -- signed URLs ----------------------------------------------------------------------------------------------------


@pytest.fixture
def now() -> list[float]:
    return [1000.0]


@pytest.fixture
def signing(tmp_path, now) -> FileUrls:
    (tmp_path / "key").write_text(f"{KEY}\n")
    settings = config.StrainConfig(signing_key=str(tmp_path / "key"), signed_seconds=600)
    return FileUrls(settings, lambda: now[0])


def test_a_signed_url_is_valid_for_a_time(signing, now):
    request = web.Request("GET", "/", HOST)
    file = FrameFile("V", TAG, G, 64, "hdf5")
    path = signing.gwosc(request)(file).removeprefix("http://store.example.org")
    assert path.endswith(f"/data/gwosc/{file.path}")
    now[0] += 100
    assert signing.gwosc(request)(file).endswith(path)  # clients cache by URL
    asked = []

    def data(request):
        asked.append(request.path)
        return web.NO_CONTENT

    app = web.App(signing.routes(data), lambda: None, Limits(), AuthConfig())
    assert respond(app, path, {}) is web.NO_CONTENT
    assert asked == [f"/data/gwosc/{file.path}"]
    now[0] = 1600  # seconds after the listing of second 1000
    assert signing.verified(path) == asked[0]
    now[0] = 1800
    with pytest.raises(Unauthenticated, match="expired"):
        signing.verified(path)


def test_a_signature_is_for_one_path_and_one_time(signing, tmp_path, now):
    request = web.Request("GET", "/", HOST)
    (url,) = signing.of_type(request, "")(FrameFile("V", TAG, G, 64, "gwf"))
    path = url.removeprefix("http://store.example.org")
    _, _, token, *rest = path.split("/")
    expiry, mac = token.split(".")
    inner = "/".join(rest)
    for forged in (
        f"/signed/{token}/{inner.replace('V1_', 'V2_')}",
        f"/signed/{int(expiry) + 1}.{mac}/{inner}",
        f"/signed/{expiry}.{mac[:-1]}{'0' if mac[-1] != '0' else '1'}/{inner}",
        f"/signed/{expiry}.{mac.upper()}/{inner}",
        f"/signed/{token}/{inner}/",
        f"/signed/{token}/segment",
        f"/signed/{token}",
        "/signed/",
    ):
        with pytest.raises(Unauthenticated):
            signing.verified(forged)
    with pytest.raises(Unauthenticated, match="no signed URL"):
        FileUrls(config.StrainConfig()).verified(path)
    (tmp_path / "key").write_text("other" * 8)
    other = FileUrls(config.StrainConfig(signing_key=str(tmp_path / "key")), lambda: now[0])
    with pytest.raises(Unauthenticated, match="signature is wrong"):
        other.verified(path)


@pytest.mark.parametrize("key", ["", "short", " " * 40])
def test_a_key_that_is_too_short_is_refused_at_start(tmp_path, key):
    (tmp_path / "key").write_text(key)
    with pytest.raises(config.ConfigError, match="openssl"):
        FileUrls(config.StrainConfig(signing_key=str(tmp_path / "key")))
