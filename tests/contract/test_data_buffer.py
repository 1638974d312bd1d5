"""The HTTP contract of the Data Buffer, on both topologies, with real servers."""

from __future__ import annotations

import json
import re
import time

import pytest
import urllib3

from shared.events import PREFIX
from tests.support.builders import segment
from tests.support.checks import check_archive, name_in
from tests.support.servers import http

NAME = re.compile(r"gwb\d{19}\.json")


def test_an_empty_store_answers_as_the_contract_says(store):
    assert store.stat() == {"n_itm": 0, "buff_size": 0}
    assert store.dstat() == {"dstatus": "OPERATIONAL", "user": "databuf", "token": "databuf"}
    assert store.request("GET", "/dumpF").json() == {"nmlist": []}
    answer = store.request("GET", "/dumpLogF")
    assert (answer.status, answer.data) == (204, b"")


@pytest.mark.parametrize("content_type", [None, "application/json", "text/plain", "application/x-www-form-urlencoded"])
def test_a_segment_is_stored_as_received_whatever_the_content_type(store, content_type):
    body = b'{ "h": [1e-21, -2.5, 3],\n "t": [1126259446.0, 0.000244140625], "note": "kept \xc3\xa9" }'
    answer = store.send(body, {"Content-Type": content_type} if content_type else {})
    assert answer.status == 201
    name = name_in(answer.data)
    assert NAME.fullmatch(name)
    assert answer.json() == {"code": "RES_CREATE", "body": f"Written {name} for {len(body)} bytes"}
    assert store.files() == {name: body}
    assert store.stat() == {"n_itm": 1, "buff_size": len(body)}
    (entry,) = store.logged()
    assert {k: entry[k] for k in ("level", "Id", "size", "name", "message")} == {
        "level": "info", "Id": 0, "size": len(body), "name": name, "message": "Write file",
    }  # fmt: skip
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", entry["time"])


def test_one_timestamp_per_sample_is_accepted(store):
    store.stored(json.dumps({"h": [1, 2, 3], "t": [10.0, 10.5, 11.0]}).encode())
    (entry,) = store.logged()
    assert (entry["t0"], entry["dt"], entry["n"]) == (10.0, 0.5, 3)


def test_names_sort_by_arrival_and_never_repeat(store):
    names = [store.stored(segment(n)) for n in range(1, 20)]
    assert names == sorted(set(names)) == store.names()


def test_lists_are_read_page_by_page(store):
    names = [store.stored(segment(n)) for n in range(1, 12)]
    assert store.names("?limit=4") == names[:4]
    assert store.names(f"?limit=4&after={names[3]}") == names[4:8]
    assert store.names(f"?after={names[3]}") == names[4:]
    assert store.names(f"?after={names[-1]}") == []
    assert [e["name"] for e in store.logged(f"?limit=2&after={names[8]}")] == names[9:]
    assert store.request("GET", "/dumpLogF", query=f"?after={names[-1]}").status == 204


@pytest.mark.parametrize(
    "query", ["?limit=0", "?limit=-1", "?limit=x", "?limit=", "?after=../../etc/passwd", "?after=gwb.json"]
)
def test_a_page_that_makes_no_sense_is_refused(store, query):
    store.stored(segment())
    answer = store.request("GET", "/dumpF", query=query)
    assert (answer.status, answer.json()["code"]) == (400, "ERRFMT")


def test_freeze_records_the_operator_and_refuses_segments(store):
    store.stored(segment())
    before = store.stat(), store.names()
    answer = store.freeze("airflow", "s3cret")
    assert (answer.status, answer.json()) == (201, {"code": "STAT_UPD", "body": "Table updated"})
    assert store.dstat() == {"dstatus": "FROZEN", **store.recorded("airflow", "s3cret")}
    refused = store.send(segment(5))
    assert (refused.status, refused.json()["code"]) == (503, "FROZEN")
    assert int(refused.headers["Retry-After"]) > 0
    assert (store.stat(), store.names()) == before


def test_an_explicit_state_is_honoured(store):
    store.freeze()
    body = json.dumps({"user": "op", "token": "x", "dstatus": "OPERATIONAL"})
    assert store.request("POST", "/upddsc", body).status == 201
    assert store.dstat() == {"dstatus": "OPERATIONAL", **store.recorded("op", "x")}
    store.stored(segment())
    assert store.request("POST", "/upddsc", json.dumps({"dstatus": "MELTED"})).status == 400


@pytest.mark.parametrize("body", [b"", b"{}", b"clean it", b'{"msg":"x"}'])
def test_cleanall_archives_and_reopens_whatever_the_body(store, body):
    sent = {store.stored(segment(n)): segment(n) for n in (3, 4, 5)}
    store.freeze()
    known = set(store.archives())
    answer = store.request("POST", "/cleanall", body)
    assert (answer.status, answer.json()) == (201, {"code": "STAT_UPD", "body": "Buffer cleaned"})
    assert store.stat() == {"n_itm": 0, "buff_size": 0}
    assert store.dstat() == {"dstatus": "OPERATIONAL", "user": "databuf", "token": "databuf"}
    assert store.names() == []
    assert store.logged() == []
    (archive,) = set(store.archives()) - known
    assert re.fullmatch(r"\d\d \d\d \d\d(-\d+)?", archive.name)
    assert check_archive(archive) == sent


def test_two_cleanalls_in_one_minute_both_succeed(store):
    first = store.stored(segment(3))
    store.cleanall()
    second = store.stored(segment(4))
    store.cleanall()
    assert [set(check_archive(a)) for a in store.archives()[-2:]] == [{first}, {second}]


def test_the_same_idempotency_key_is_answered_like_the_first_time(store):
    key = {"Idempotency-Key": "L1-1126259446"}
    first = store.send(segment(3), key)
    again = store.send(segment(3), key)
    assert (again.status, again.data) == (first.status, first.data)
    assert store.check_exact()["n_itm"] == 1


def test_a_key_is_still_known_after_freeze_and_in_the_next_batch(store):
    key = {"Idempotency-Key": f"once-{time.time_ns()}"}
    first = store.send(segment(3), key)
    store.freeze()
    assert store.send(segment(3), key).data == first.data
    store.cleanall()
    assert store.send(segment(3), key).data == first.data
    assert store.check_exact()["n_itm"] == 0


def test_a_cleanall_with_a_key_is_done_once(store):
    store.stored(segment())
    key = {"Idempotency-Key": f"clean-{time.time_ns()}"}
    assert store.cleanall(headers=key).status == 201
    store.stored(segment())
    assert store.cleanall(headers=key).status == 201
    assert store.check_exact()["n_itm"] == 1


def unique(name: str) -> dict[str, str]:
    return {"Idempotency-Key": f"{name}-{time.time_ns()}"}


def test_a_key_that_named_another_payload_is_refused_and_nothing_is_lost(store):
    key = unique("reused")
    name = store.stored(segment(3), key)
    answer = store.send(segment(4), key)
    assert (answer.status, answer.json()["code"]) == (422, "ERRKEY")
    assert name in answer.json()["body"]
    assert store.stored(segment(3), key) == name
    assert store.check_exact()["n_itm"] == 1


def event(id: str, source: str) -> dict[str, str]:
    return {"ce-specversion": "1.0", "ce-type": PREFIX + "segment", "ce-source": source, "ce-id": id}


def test_events_are_named_by_source_and_id_and_never_by_a_header(store):
    one, two = f"a{time.time_ns()}", f"b{time.time_ns()}"
    headers = [
        event(two, f"{one} x"), event(f"x {two}", one), {"Idempotency-Key": f"{one} x {two}"},
        event(one, "gw"), {"Idempotency-Key": f"gw {one}"},
    ]  # fmt: skip
    for _ in range(2):
        for n, each in enumerate(headers, 1):
            assert store.send(segment(n), each).status in (201, 204)
    assert store.check_exact()["n_itm"] == len(headers)


def test_a_freeze_under_the_key_of_a_segment_does_not_take_its_place(store):
    key = unique("shared")
    name = store.stored(segment(1), key)
    assert store.freeze(headers=key).status == 201
    thaw = json.dumps({"user": "operator", "token": "secret", "dstatus": "OPERATIONAL"})
    assert store.request("POST", "/upddsc", thaw).status == 201
    assert store.stored(segment(1), key) == name
    assert store.check_exact()["n_itm"] == 1


def test_the_answer_to_a_repeated_freeze_or_cleanall_names_its_batch_and_the_state_now(store):
    freeze, clean = unique("freeze"), unique("clean")
    store.stored(segment(1))
    assert store.freeze(headers=freeze).json() == {"code": "STAT_UPD", "body": "Table updated"}
    again = store.freeze(headers=freeze).json()
    batch = again["batch"]
    assert again["state"] == "FROZEN"
    assert store.cleanall(headers=clean).json() == {"code": "STAT_UPD", "body": "Buffer cleaned"}
    assert store.freeze(headers=freeze).json() | {"body": ""} == {
        "code": "STAT_UPD", "body": "", "batch": batch, "state": "OPERATIONAL",
    }  # fmt: skip
    again = store.cleanall(headers=clean).json()
    assert (again["batch"], again["archive"]) == (batch, store.archives()[-1].name)
    assert store.dstat()["dstatus"] == "OPERATIONAL"


def test_cleanalls_with_keys_do_not_push_the_keys_of_segments_out(store):
    key = unique("early")
    name = store.stored(segment(1), key)
    for _ in range(4):
        assert store.cleanall(headers=unique("clean")).status == 201
    assert store.stored(segment(1), key) == name
    assert store.check_exact()["n_itm"] == 0


@pytest.mark.parametrize("route", ["/sendF", "/upddsc", "/cleanall"])
@pytest.mark.parametrize("keys", [["k" * 257], ["\xe9"], ["one", "two"], ["same", "same"]])
def test_a_key_that_cannot_be_kept_is_refused_on_every_route(store, route, keys):
    headers = urllib3.HTTPHeaderDict()
    for key in keys:
        headers.add("Idempotency-Key", key)
    body = segment(1) if route == "/sendF" else b"{}"
    answer = store.request("POST", route, body, headers)
    assert (answer.status, answer.json()["code"]) == (400, "ERRFMT")
    assert store.stat()["n_itm"] == 0
    assert store.dstat()["dstatus"] == "OPERATIONAL"


@pytest.mark.parametrize("route", ["/dumpF", "/dumpLogF"])
def test_pages_of_two_batches_are_never_mixed(store, route):
    names = [store.stored(segment(n)) for n in range(1, 4)]
    page = store.request("GET", route, query="?limit=1")
    batch = page.headers["Datastore-Batch"]
    more = store.request("GET", route, query=f"?after={names[0]}&batch={batch}")
    assert more.status == 200
    assert more.headers["Datastore-Batch"] == batch
    assert store.cleanall().status == 201
    store.stored(segment(9))
    answer = store.request("GET", route, query=f"?after={names[0]}&batch={batch}")
    assert (answer.status, answer.json()["code"]) == (409, "ERRBATCH")
    assert int(store.request("GET", route).headers["Datastore-Batch"]) == int(batch) + 1


def test_every_function_answers_its_probes_and_metrics(store):
    store.stored(segment())
    for process in store.processes.values():
        assert http.request("GET", process.url + "/health/liveness").status == 200
        assert http.request("GET", process.url + "/health/readiness").status == 200
        assert b"datastore_refusals" in http.request("GET", process.url + "/metrics").data
    metrics = http.request("GET", store.ingest.url + "/metrics").data.decode()
    assert re.search(r"^datastore_segments_accepted_total [1-9]", metrics, re.M)
    assert re.search(r"^datastore_group_size_count [1-9]", metrics, re.M)
    metrics = http.request("GET", store.writer.url + "/metrics").data.decode()
    assert re.search(r"^datastore_batch_segments 1.0", metrics, re.M)
    shown = [p for p in store.processes.values() if b"datastore_batch" in http.request("GET", p.url + "/metrics").data]
    assert shown == [store.writer]  # alerts count the writers by it


def test_unknown_paths_and_methods_are_client_errors(store):
    url = store.url("/stat").removesuffix("/stat")
    assert http.request("GET", url + "/nothing").status == 404
    assert http.request("DELETE", url + "/stat").status == 405


@pytest.mark.parametrize("key", ["x" * 257, "caf\u00e9", "tab\there"])
@pytest.mark.parametrize(
    ("route", "body"), [("/sendF", segment(3)), ("/upddsc", b'{"user":"u","token":"t"}'), ("/cleanall", b"")]
)
def test_a_key_that_the_journal_cannot_keep_is_refused_everywhere(store, route, body, key):
    before = store.journal.read_bytes()
    answer = store.request("POST", route, body, {"Idempotency-Key": key.encode("latin-1")})
    assert (answer.status, answer.json()["code"]) == (400, "ERRFMT")
    assert "Idempotency-Key" in answer.json()["body"]
    assert store.journal.read_bytes() == before
