"""I5 and the failure table: refused input leaves nothing, no partial file is ever visible."""

from __future__ import annotations

import json
import socket
import threading
import time

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.builders import segment
from tests.support.load import post_all
from tests.support.servers import http
from tests.support.strategies import bodies

BAD = {
    "empty": b"",
    "not JSON": b"hello",
    "cut": segment(40)[:-9],
    "trailing": segment() + b"x",
    "a list": b"[1,2]",
    "null": b"null",
    "no h": b'{"t":[1,2]}',
    "no t": b'{"h":[1]}',
    "empty h": b'{"h":[],"t":[1,2]}',
    "null h": b'{"h":null,"t":[1,2]}',
    "a string in h": b'{"h":["1"],"t":[1,2]}',
    "a boolean in h": b'{"h":[true],"t":[1,2]}',
    "nested h": b'{"h":[[1]],"t":[1,2]}',
    "NaN": b'{"h":[NaN],"t":[1,2]}',
    "Infinity": b'{"h":[-Infinity],"t":[1,2]}',
    "overflow": b'{"h":[1e999],"t":[1,2]}',
    "dt zero": b'{"h":[1],"t":[1,0]}',
    "dt negative": b'{"h":[1],"t":[1,-0.5]}',
    "t of the wrong length": b'{"h":[1,2,3,4],"t":[1,2,3]}',
    "empty t": b'{"h":[1],"t":[]}',
    "detector is a number": b'{"h":[1],"t":[1,2],"detector":7}',
    "not UTF-8": b'{"h":[1],"t":[1,2],"note":"\xff\xfe"}',
    "UTF-16": segment().decode().encode("utf-16"),
    "nested deeply": b'{"x":' + b"[" * 200_000 + b"]" * 200_000 + b',"h":[1],"t":[1,2]}',
    "unclosed deeply": b'{"h":' + b"[" * 200_000,
    "NUL bytes": b"\0" * 100,
}


@pytest.mark.parametrize("name", BAD)
def test_i5_malformed_segments_are_400_and_leave_nothing(store, name):
    def spooled() -> set[str]:
        """Spool files and staged payloads; a trim may rename `.log` to `.closed` at any time."""
        names = [path.name for path in (store.root / "datavar/.spool").iterdir()]
        return {name.removesuffix(".closed").removesuffix(".log") for name in names}

    before = spooled()
    answer = store.send(BAD[name])
    assert (answer.status, answer.json()["code"]) == (400, "ERRFMT")
    assert answer.json()["body"]
    assert b"Traceback" not in answer.data
    assert store.check_exact() == {"n_itm": 0, "buff_size": 0}
    assert spooled() <= before


@pytest.mark.parametrize(
    ("body", "field"),
    [
        (b'{"h":[],"t":[1,2]}', "h"),
        (b'{"h":[1],"t":[1,0]}', "t[1]"),
        (b'{"h":[1,"x"],"t":[1,2]}', "h[1]"),
        (b'{"h":[1,2,3],"t":[1]}', "t"),
    ],
)
def test_i5_the_answer_names_the_field(store, body, field):
    assert field in store.send(body).json()["body"]


def test_i5_a_body_over_the_limit_is_413_also_when_its_length_is_not_told(topology, new_store):
    store = new_store(topology, MAX_BODY="10000")
    assert store.send(segment(5)).status == 201
    assert store.send(b" " * 10_001).status == 413
    chunks = (b" " * 1000 for _ in range(50))
    answer = http.request("POST", store.url("/sendF"), body=chunks, headers={"Transfer-Encoding": "chunked"})
    assert answer.status == 413
    assert store.check_exact()["n_itm"] == 1


def test_i5_a_client_that_breaks_off_leaves_nothing(store):
    for _ in range(5):
        with socket.create_connection(("127.0.0.1", store.ingest.port)) as s:
            s.sendall(b"POST /sendF HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5000\r\n\r\n" + segment(9))
    time.sleep(0.2)
    assert store.check_exact()["n_itm"] == 0


def test_i5_every_file_is_whole_whenever_it_is_looked_at(store):
    stop = threading.Event()
    broken, looked = [], []

    def look():
        known = set()
        while not stop.is_set():
            for path in store.data.iterdir():
                if path.name not in known:
                    known.add(path.name)
                    looked.append(path.name)
                    try:
                        json.loads(path.read_bytes())
                    except ValueError:
                        broken.append(path.name)

    thread = threading.Thread(target=look)
    thread.start()
    post_all(store.url("/sendF"), (("", segment(300, t0=float(i))) for i in range(2000)), 16)
    stop.set()
    thread.join()
    assert looked
    assert broken == []
    assert all(name.startswith("gwb") for name in looked)


def test_a_full_queue_is_503_busy_and_takes_segments_again(topology, new_store):
    store = new_store(topology, WCHSZ="2", GROUP_SIZE="1")
    sent = post_all(store.url("/sendF"), (("", segment(2, t0=float(i))) for i in range(600)), 48)
    refused = [s for s in sent if s.status != 201]
    assert refused
    assert {(s.status, json.loads(s.answer)["code"]) for s in refused} == {(503, "BUSY")}
    assert store.check_exact()["n_itm"] == len(sent) - len(refused)
    store.stored(segment())


def test_a_writer_that_is_away_is_503_busy(new_store):
    store = new_store("split", COMMIT_TIMEOUT="0.5")
    store.stored(segment(1))
    store.writer.kill()
    answer = store.send(segment(2), {"Idempotency-Key": "two"})
    assert (answer.status, answer.json()["code"]) == (503, "BUSY")
    assert "Retry-After" in answer.headers
    assert store.freeze().status == 503
    store.writer.start("/health/readiness")
    store.stored(segment(2), {"Idempotency-Key": "two"})
    assert store.check_exact()["n_itm"] == 2


# -- fuzzing --------------------------------------------------------------------------------------------------------


@settings(max_examples=250, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(bodies, st.sampled_from([None, "application/json", "application/cloudevents+json", "text/plain"]))
def test_i5_no_body_gets_an_unlisted_answer_or_leaves_a_file(store, body, content_type):
    before = store.stat()["n_itm"]
    answer = store.send(body, {"Content-Type": content_type} if content_type else {})
    assert answer.status in (201, 204, 400)
    assert b"Traceback" not in answer.data
    assert store.stat()["n_itm"] == len(store.files()) == before + (answer.status in (201, 204))


@pytest.mark.parametrize("route", ["/upddsc", "/cleanall"])
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(body=bodies)
def test_no_operator_request_gets_an_unlisted_answer(store, route, body):
    answer = store.request("POST", route, body)
    assert answer.status in (201, 204, 400)
    assert b"Traceback" not in answer.data
