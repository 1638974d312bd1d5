"""GlitchflowAPI's contract, on both topologies, with real servers; and the whole cycle as its clients drive it."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from urllib.parse import urljoin

import pytest

from tests.support.builders import segment
from tests.support.checks import check_archive
from tests.support.load import post_all
from tests.support.ports import free_port
from tests.support.servers import Process, http

OPERATOR = json.dumps({"user": "airflow", "token": "s3cret"})


def post(store, route, body, headers=None):
    answer = store.request("POST", route, body, headers)
    return answer.status, answer.json()


def test_the_whole_cycle(services):
    assert post(services, "/train", OPERATOR) == (200, {"resp": "WAITING"})
    sent: dict[str, bytes] = {}
    while (said := post(services, "/train", OPERATOR)[1])["resp"] == "WAITING":
        body = segment(30 + len(sent), t0=1126259446.0 + len(sent))
        status, answer = post(services, "/streamdata", body)
        assert (status, answer["resp"]) == (200, "CREATED")
        assert json.loads(answer["body"])["code"] == "RES_CREATE"
        sent[json.loads(answer["body"])["body"].split()[1]] = body
    size = sum(map(len, sent.values()))
    assert size >= 3000
    assert said == {"resp": "FROZEN", "n_f": len(sent), "bt_wrt": size}
    assert services.request("GET", "/stats").json() == {"n_itm": len(sent), "buff_size": size}
    assert services.request("GET", "/dumpbuf").json() == {"nmlist": sorted(sent)}
    assert services.request("GET", "/desc").json() == {"resp": "FROZEN"}
    assert services.dstat() == {"dstatus": "FROZEN", "user": "airflow", "token": "s3cret"}
    assert post(services, "/streamdata", segment()) == (200, {"resp": "FROZEN", "body": "Datastore frozen."})
    assert services.files() == sent

    status, answer = post(services, "/cleanbuf", '{"msg":"done"}')
    assert (status, answer["resp"]) == (200, "CLEANED")
    assert json.loads(answer["body"]) == {"code": "STAT_UPD", "body": "Buffer cleaned"}
    assert services.request("GET", "/dumpbuf").json() == {"nmlist": []}
    assert services.request("GET", "/stats").json() == {"n_itm": 0, "buff_size": 0}
    assert services.request("GET", "/desc").json() == {"resp": "OPERATIONAL"}
    assert services.request("GET", "/dumpflog").json() == []
    assert check_archive(services.archives()[-1]) == sent


@pytest.mark.parametrize(
    ("route", "body"),
    [
        ("/streamdata", b"{}"),
        ("/streamdata", b'{"h":[1,2],"t":[1,0]}'),
        ("/streamdata", b"not json"),
        ("/train", b'{"user":"a"}'),
        ("/train", b""),
        ("/cleanbuf", b"{}"),
    ],
)
def test_an_invalid_body_is_unprocessable_as_the_original_says(services, route, body):
    status, answer = post(services, route, body)
    assert (status, answer["resp"], answer["code"]) == (422, "ERRFMT", "ERRFMT")
    assert answer["body"]
    assert services.check_exact()["n_itm"] == 0


@pytest.mark.parametrize("content_type", [None, "text/plain", "application/x-www-form-urlencoded"])
def test_the_content_type_does_not_matter(services, content_type):
    headers = {"Content-Type": content_type} if content_type else {}
    assert post(services, "/streamdata", segment(), headers)[1]["resp"] == "CREATED"
    assert post(services, "/train", OPERATOR, headers)[1]["resp"] == "WAITING"
    assert post(services, "/cleanbuf", '{"msg":""}', headers)[1]["resp"] == "CLEANED"


def test_what_else_a_client_sends_is_stored_too(services):
    body = segment(4, detector="V1", channel="V1:Hrec_hoft_16384Hz", note="kept")
    assert post(services, "/streamdata", body)[1]["resp"] == "CREATED"
    assert list(services.files().values()) == [body]
    assert services.logged()[0]["detector"] == "V1"


def test_an_idempotency_key_reaches_the_store(services):
    key = {"Idempotency-Key": f"once-{time.time_ns()}"}
    first = post(services, "/streamdata", segment(), key)
    assert post(services, "/streamdata", segment(), key) == first
    assert services.check_exact()["n_itm"] == 1
    post(services, "/cleanbuf", '{"msg":""}', key)
    services.stored(segment())
    assert post(services, "/cleanbuf", '{"msg":""}', key)[1]["resp"] == "CLEANED"
    assert services.check_exact()["n_itm"] == 1


def test_dspage_leads_to_the_status_page(services):
    answer = services.request("GET", "/dspage")
    assert answer.status == 303
    page = http.request("GET", urljoin(services.url("/dspage"), answer.headers["Location"]))
    assert (page.status, page.headers["Content-Type"]) == (200, "text/html; charset=utf-8")
    assert b"status.js" in page.data


def test_three_concurrent_streams_lose_nothing(services):
    bodies = [("", segment(1 + i % 300, t0=1e9 + i)) for i in range(600)]
    sent = post_all(services.url("/streamdata"), bodies, 3)
    assert {json.loads(s.answer)["resp"] for s in sent} == {"CREATED"}
    assert services.check_exact()["n_itm"] == len(bodies)
    assert sorted(services.files().values()) == sorted(body for _, body in bodies)


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """GlitchflowAPI with nothing behind it."""
    env = {"ROOT": str(tmp_path_factory.mktemp("glitchflow")), "DS_BURL": f"http://127.0.0.1:{free_port()}/"}
    process = Process("glitchflow", env).start("/health/readiness")
    yield process
    process.stop()


@pytest.mark.parametrize(
    ("method", "route", "body"),
    [
        *(("GET", route, None) for route in ("/stats", "/dumpbuf", "/desc")),
        ("POST", "/train", OPERATOR), ("POST", "/streamdata", segment()), ("POST", "/cleanbuf", '{"msg":""}'),
    ],
)  # fmt: skip
def test_a_logic_that_is_away_is_said_to_be_away(alone, method, route, body):
    answer = http.request(method, alone.url + route, body=body)
    assert (answer.status, answer.json()["resp"]) == (502, "UPSTREAM")
    assert int(answer.headers["Retry-After"]) > 0
    assert "Traceback" not in alone.text()


def test_a_writer_that_is_away_is_busy_for_clients_too(new_store):
    store = new_store("split", upper=True, COMMIT_TIMEOUT="0.3")
    store.writer.kill()
    answer = store.request("POST", "/streamdata", segment())
    assert (answer.status, answer.json()["resp"], answer.headers["Retry-After"]) == (503, "BUSY", "1")


def test_a_volume_that_refuses_to_archive_is_an_fs_err(new_store, topology):
    store = new_store(topology, upper=True)
    store.stored(segment())
    store.data.rename(store.root / "datavar" / "elsewhere")  # nothing to archive where the batch should be
    try:
        status, answer = post(store, "/cleanbuf", '{"msg":""}')
    finally:
        (store.root / "datavar" / "elsewhere").rename(store.data)
    assert (status, answer) == (200, {"resp": "FS ERR", "body": "Broken FS"})
    assert store.request("POST", "/cleanbuf", '{"msg":""}').json()["resp"] == "CLEANED"
    assert len(check_archive(store.archives()[0])) == 1


def test_the_documentation_needs_nothing_from_elsewhere(services):
    page = services.request("GET", "/docs").data.decode()
    base = services.url("/docs").removesuffix("/docs")
    assert "//" not in page.replace("<!doctype html>", "")
    for asset in ("docs/swagger-ui.css", "docs/swagger-ui-bundle.js", "docs/docs.js", "docs/icon.svg"):
        assert asset in page
        assert http.request("GET", f"{base}/{asset}").status == 200
    assert services.request("GET", "/openapi.json").json()["openapi"].startswith("3.1")


@pytest.mark.parametrize(
    "part",
    [
        # A list with one GPS time per sample is accepted too, and a key that is known is not: JSON Schema has no words.
        ("--include-path=/streamdata", "--exclude-checks=negative_data_rejection,positive_data_acceptance"),
        ("--include-tag=glitchflow", "--exclude-path=/streamdata"),
    ],
    ids=["streamdata", "others"],
)
def test_the_service_is_as_its_document_says(services, part, tmp_path):
    if services.topology == "embedded":
        pytest.skip("test_openapi.py compares all routes of the embedded store with its document")
    command = [
        sys.executable, "-m", "schemathesis.cli", "run", services.url("/openapi.json"), *part, "--max-examples=25",
        "--checks=all", "--phases=coverage,fuzzing", "--generation-deterministic", "--no-color",
    ]  # fmt: skip
    run = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=240, check=False)
    assert run.returncode == 0, run.stdout + run.stderr
    assert "No issues found" in run.stdout, run.stdout
