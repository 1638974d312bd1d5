"""Datastore Logic's contract, on both topologies, with real servers."""

from __future__ import annotations

import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from tests.support.builders import segment
from tests.support.checks import check_archive
from tests.support.load import post_all
from tests.support.ports import free_port
from tests.support.servers import Process, Store, http

OPERATOR = json.dumps({"user": "airflow", "token": "s3cret"})


def test_an_empty_store_answers_as_the_contract_says(services):
    def get(route):
        answer = services.request("GET", route)
        return answer.status, answer.json()

    assert get("/bufstat") == (200, {"n_itm": 0, "buff_size": 0})
    assert get("/dsdesc") == (200, {"dstatus": "OPERATIONAL", "user": "databuf", "token": "databuf"})
    assert get("/dumpf") == (200, {"nmlist": []})
    assert get("/dumpflog") == (200, [])


@pytest.mark.parametrize("content_type", [None, "text/plain", "application/x-www-form-urlencoded"])
def test_stream_stores_and_answers_in_the_data_buffer_s_words_as_text(services, content_type):
    body = segment(5)
    answer = services.request("POST", "/stream", body, {"Content-Type": content_type} if content_type else {})
    (name,) = services.names()
    assert answer.status == 201
    assert answer.headers["Content-Type"].startswith("text/plain")
    assert json.loads(answer.data) == {"code": "RES_CREATE", "body": f"Written {name} for {len(body)} bytes"}
    assert services.files() == {name: body}
    assert services.request("GET", "/bufstat").json() == services.stat()
    assert services.request("GET", "/dumpf").json() == {"nmlist": [name]}
    assert services.request("GET", "/dumpflog").json() == services.logged()


def test_lists_are_read_page_by_page(services):
    names = [services.stored(segment(n)) for n in range(1, 7)]
    query = f"?limit=2&after={names[2]}"
    assert services.request("GET", "/dumpf", query=query).json()["nmlist"] == names[3:5]
    assert [e["name"] for e in services.request("GET", "/dumpflog", query=query).json()] == names[3:5]
    assert services.request("GET", "/dumpf", query="?limit=x").status == 400


def test_what_is_not_a_segment_is_refused_as_the_data_buffer_refuses_it(services):
    for body in (b"", b"{}", b'{"h":[],"t":[1,1]}', b'{"h":[1],"t":[1,NaN]}'):
        refused, model = services.request("POST", "/stream", body), services.send(body)
        assert (refused.status, refused.json()) == (model.status, model.json())
        assert refused.status == 400
    assert services.check_exact()["n_itm"] == 0


def test_an_idempotency_key_reaches_the_store(services):
    key = {"Idempotency-Key": f"once-{time.time_ns()}"}
    first = services.request("POST", "/stream", segment(), key)
    assert services.request("POST", "/stream", segment(), key).data == first.data
    assert services.check_exact()["n_itm"] == 1


def test_freezing_waits_for_the_threshold_then_freezes_and_says_with_what(services):
    services.stored(segment(20))
    waiting = services.request("POST", "/freezeds", OPERATOR)
    assert (waiting.status, waiting.data) == (200, b"Waiting for more incoming data.")
    assert services.dstat()["dstatus"] == "OPERATIONAL"
    while services.stat()["buff_size"] < 3000:
        services.stored(segment(40))
    frozen = services.request("POST", "/freezeds", OPERATOR)
    assert (frozen.status, frozen.json()) == (201, services.check_exact())
    assert services.dstat() == {"dstatus": "FROZEN", "user": "airflow", "token": "s3cret"}
    refused = services.request("POST", "/stream", segment())
    assert (refused.status, refused.data) == (503, b"Datastore frozen.")
    assert int(refused.headers["Retry-After"]) > 0


def test_a_batch_that_is_frozen_already_is_not_waited_for(services):
    services.stored(segment())
    services.freeze("operator", "x")
    answer = services.request("POST", "/freezeds", OPERATOR)
    assert (answer.status, answer.json()) == (201, services.stat())


def test_flushing_archives_and_reopens(services):
    sent = {services.stored(segment(n)): segment(n) for n in (3, 4)}
    answer = services.request("POST", "/flushbuf", b"anything")
    assert (answer.status, answer.json()) == (201, {"code": "STAT_UPD", "body": "Buffer cleaned"})
    assert check_archive(services.archives()[-1]) == sent
    assert services.stat() == {"n_itm": 0, "buff_size": 0}


def test_a_minimum_of_strain_is_waited_for(new_store, topology):
    store = new_store(topology, upper=True, MAX_SIZE="1", MIN_SECONDS="2")
    for t0 in (101.0, 100.0, 105.0, 103.0):  # 1 s each, in any order
        assert store.request("POST", "/freezeds", OPERATOR).status == 200
        store.stored(segment(4, t0=t0, dt=0.25))
        if t0 == 100.0:
            assert store.request("POST", "/freezeds", OPERATOR).status == 201
            store.cleanall()


# -- by event ----------------------------------------------------------------------------------------------------


class Broker(ThreadingHTTPServer):
    """A fake broker with two triggers: it takes an event, answers at once, and delivers it a little later, twice."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Delivery)
        self.triggers: dict[str, str] = {}
        self.answers: list[int] = []
        self.deliveries: list[threading.Thread] = []


class Delivery(BaseHTTPRequestHandler):
    server: Broker

    def do_POST(self):
        event = self.rfile.read(int(self.headers["Content-Length"]))
        target = self.server.triggers[json.loads(event)["type"].rpartition(".")[2]]
        headers = {"Content-Type": self.headers["Content-Type"]}

        def deliver():
            time.sleep(0.2)
            for _ in range(2):
                self.server.answers.append(http.request("POST", target, body=event, headers=headers).status)

        self.server.deliveries.append(threading.Thread(target=deliver))
        self.server.deliveries[-1].start()
        self.send_response(202)
        self.end_headers()

    def log_message(self, *args):
        pass


@pytest.fixture
def broker():
    server = Broker()
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    for delivery in server.deliveries:
        delivery.join()
    server.server_close()


def test_freeze_and_cleanall_can_be_asked_for_by_event(tmp_path, broker):
    store = Store("split", tmp_path, upper=True, forked=True, MAX_SIZE="1", COMMIT_TIMEOUT="2")
    logic = store.processes["logic"]
    logic.env |= {"ASK_BY": "event", "K_SINK": f"http://127.0.0.1:{broker.server_port}/"}
    broker.triggers |= {"freeze": store.processes["freeze"].url, "cleanall": store.processes["cleanall"].url}
    with store:
        sent = {store.stored(segment(n)): segment(n) for n in (3, 4)}
        frozen = store.request("POST", "/freezeds", OPERATOR)
        assert (frozen.status, frozen.json()) == (201, store.stat())
        assert store.dstat() == {"dstatus": "FROZEN", "user": "airflow", "token": "s3cret"}
        cleaned = store.request("POST", "/flushbuf")
        assert (cleaned.status, cleaned.json()["code"]) == (201, "STAT_UPD")
        assert check_archive(store.archives()[-1]) == sent
        for delivery in broker.deliveries:
            delivery.join()
        assert broker.answers == [204] * 4
        assert len(store.archives()) == 1  # delivered twice, done once
        broker.triggers["freeze"] = store.processes["stats"].url  # an event that goes astray
        store.stored(segment())
        logic.stop()
        logic.start("/health/readiness", UPSTREAM_TIMEOUT="0.5")
        lost = store.request("POST", "/freezeds", OPERATOR)
        assert (lost.status, lost.json()["code"]) == (503, "BUSY")


# -- the service behind it ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """Logic with nothing behind it."""
    env = {"ROOT": str(tmp_path_factory.mktemp("logic")), "DB_BURL": f"http://127.0.0.1:{free_port()}"}
    process = Process("logic", env).start("/health/readiness")
    yield process
    process.stop()


@pytest.mark.parametrize(
    ("method", "route"),
    [
        *(("GET", route) for route in ("/bufstat", "/dsdesc", "/dumpf", "/dumpflog", "/status.json")),
        *(("POST", route) for route in ("/stream", "/freezeds", "/flushbuf")),
    ],
)
def test_a_data_buffer_that_is_away_is_said_to_be_away(alone, method, route):
    answer = http.request(method, alone.url + route, body=OPERATOR if method == "POST" else None)
    assert (answer.status, answer.json()["code"]) == (502, "UPSTREAM")
    assert int(answer.headers["Retry-After"]) > 0
    assert b"FROZEN" not in answer.data
    assert "Traceback" not in alone.text()


def test_the_page_itself_is_served_while_the_data_buffer_is_away(alone):
    assert b"Datastore" in http.request("GET", alone.url + "/").data


def test_a_data_buffer_that_cannot_be_understood_is_not_believed(alone, tmp_path):
    other = Process("stats", {"ROOT": str(tmp_path / "other")}).start()
    try:
        lost = Process("logic", {"ROOT": str(tmp_path), "DB_BURL": other.url, "ENDP_STAT": "/nowhere"}).start()
        answer = http.request("GET", lost.url + "/bufstat")
        assert (answer.status, answer.json()["code"]) == (502, "UPSTREAM")
        recovering = http.request("GET", lost.url + "/dsdesc")  # no state has been published there
        assert (recovering.status, recovering.json()["code"]) == (503, "RECOVERING")
        lost.stop()
    finally:
        other.stop()


def test_a_writer_that_is_away_is_busy_for_logic_too(new_store):
    store = new_store("split", upper=True, COMMIT_TIMEOUT="0.3")
    store.writer.kill()
    answer = store.request("POST", "/stream", segment())
    assert (answer.status, answer.json()["code"]) == (503, "BUSY")
    assert answer.headers["Retry-After"] == "1"
    answer = store.request("POST", "/flushbuf")
    assert (answer.status, answer.json()["code"]) == (503, "BUSY")


@pytest.mark.parametrize("victim", ["writer", "ingest"])
def test_i1_i2_i4_killing_the_buffer_under_load_loses_and_doubles_nothing(new_store, topology, victim):
    store = new_store(topology, upper=True, COMMIT_TIMEOUT="1")
    bodies = [(f"key-{i}", segment(1 + i % 50, t0=1e9 + i)) for i in range(300)]
    process = getattr(store, victim)

    def kill():
        time.sleep(0.15)
        process.kill()
        time.sleep(0.3)
        process.start(wait="")

    killer = threading.Thread(target=kill)
    killer.start()
    sent = post_all(store.url("/stream"), bodies, 8, retry=True)
    killer.join()
    process.wait("/health/readiness")
    assert {s.status for s in sent} == {201}
    assert store.check_exact()["n_itm"] == len(bodies)
    assert sorted(store.files().values()) == sorted(body for _, body in bodies)
    assert {s.name for s in sent} == set(store.names())
