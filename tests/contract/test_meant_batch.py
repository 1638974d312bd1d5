"""Freeze and cleanall of the batch that is meant: another one is left alone, decided in the same step."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.support.builders import segment

OPERATOR = json.dumps({"user": "ada", "token": "x"})
FREEZES = [("/upddsc", OPERATOR, 201), ("/freezeds", OPERATOR, 201), ("/train", OPERATOR, 200)]
CLEANS = [("/cleanall", "", 201), ("/flushbuf", "", 201), ("/cleanbuf", '{"msg":"x"}', 200)]
PREFIX = "eu.intertwin.datastore."


def number_of(store) -> int:
    return store.request("GET", "/archives", query="?limit=1").json()["open"]["batch"]


@pytest.mark.parametrize(("route", "body", "status"), FREEZES + CLEANS)
def test_only_the_batch_that_is_meant_is_changed(services, route, body, status):
    services.stored(segment(300))
    number, journal = number_of(services), services.journal.read_bytes()
    for other in (number - 1, number + 1):
        answer = services.request("POST", route, body, query=f"?batch={other}")
        assert (answer.status, answer.json()["code"]) == (409, "ERRBATCH"), answer.data
        assert f"batch {other} is not open, batch {number} is" in answer.json()["body"]
    wrong = services.request("POST", route, body, query="?batch=x")
    assert wrong.json()["code"] == "ERRFMT"
    twice = services.request("POST", route, body, query=f"?batch={number + 1}&batch={number}")
    assert (twice.json()["code"], "`batch` stands twice" in twice.json()["body"]) == ("ERRFMT", True)
    misspelt = services.request("POST", route, body, query=f"?bacth={number + 1}")
    assert (misspelt.json()["code"], "`bacth` is not a parameter" in misspelt.json()["body"]) == ("ERRFMT", True)
    assert services.journal.read_bytes() == journal
    assert services.request("POST", route, body, query=f"?batch={number}").status == status
    assert services.dstat()["dstatus"] == ("FROZEN" if (route, body, status) in FREEZES else "OPERATIONAL")
    assert number_of(services) == number + ((route, body, status) in CLEANS)


@pytest.mark.parametrize("route", ["/cleanall", "/flushbuf"])
def test_of_many_who_clean_one_batch_one_does(services, route):
    services.stored(segment(3))
    number = number_of(services)
    with ThreadPoolExecutor(8) as pool:
        answers = [pool.submit(services.request, "POST", route, query=f"?batch={number}") for _ in range(8)]
    statuses = sorted(answer.result().status for answer in answers)
    assert statuses == [201] + [409] * 7
    assert number_of(services) == number + 1


def test_a_repetition_is_answered_like_the_first_time(services):
    number, key = number_of(services), {"Idempotency-Key": "clean it"}
    first = services.request("POST", "/cleanall", headers=key, query=f"?batch={number}")
    second = services.request("POST", "/cleanall", headers=key, query=f"?batch={number}")
    assert (first.status, second.status) == (201, 201)
    assert second.json()["batch"] == number
    assert number_of(services) == number + 1


@pytest.mark.parametrize(("kind", "route"), [("freeze", "/upddsc"), ("cleanall", "/cleanall")])
def test_an_event_names_the_batch_too(store, kind, route):
    number = number_of(store)

    def deliver(id: str, data: object):
        event = {"specversion": "1.0", "type": PREFIX + kind, "source": "/test", "id": f"{kind} {id} {number}"}
        headers = {"Content-Type": "application/cloudevents+json"}
        return store.request("POST", route, json.dumps({**event, "data": data}), headers)

    for wrong, status, code in ((number + 1, 409, "ERRBATCH"), ("x", 400, "ERRFMT"), (True, 400, "ERRFMT")):
        answer = deliver(f"{wrong}", {"batch": wrong})
        assert (answer.status, answer.json()["code"]) == (status, code)
    assert (store.dstat()["dstatus"], number_of(store)) == ("OPERATIONAL", number)
    assert deliver("right", {"batch": number}).status == 204
    assert (store.dstat()["dstatus"] == "FROZEN", number_of(store) - number) == ((True, 0), (False, 1))[
        kind != "freeze"
    ]


def test_data_of_an_event_that_is_no_object_means_no_batch(store):
    event = {"specversion": "1.0", "type": PREFIX + "cleanall", "source": "/test", "id": "odd", "data": ["clean"]}
    headers = {"Content-Type": "application/cloudevents+json"}
    number = number_of(store)
    assert store.request("POST", "/cleanall", json.dumps(event), headers).status == 204
    assert number_of(store) == number + 1
