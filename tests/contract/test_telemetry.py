"""Traces and log lines of a split store: one request is followed through functions, into facts, and no further."""

from __future__ import annotations

import importlib.util
import itertools
import json
import socket
from http.server import BaseHTTPRequestHandler

import pytest

from tests.support.builders import segment
from tests.support.checks import wait_for
from tests.support.event_sink import Sink
from tests.support.http_server import done, serving
from tests.support.servers import Process, Store

PREFIX = "eu.intertwin.datastore."
SPAN = "00f067aa0ba902b7"
STRUCTURED = {"Content-Type": "application/cloudevents+json"}


def trace(number: int) -> str:
    """A trace id that no other test has."""
    return f"{number:032x}"


def parent(number: int, **more: str) -> dict[str, str]:
    return {"traceparent": f"00-{trace(number)}-{SPAN}-01", **more}


def lines(process: Process) -> list[dict]:
    """The log; every line of it is a JSON object."""
    return [json.loads(line) for line in process.text().splitlines()]


def of_trace(process: Process, number: int) -> list[dict]:
    return [line for line in lines(process) if line.get("trace_id") == trace(number)]


@pytest.fixture(scope="module")
def sink():
    with Sink() as sink:
        yield sink


@pytest.fixture(scope="module")
def alone(tmp_path_factory, sink):
    root = tmp_path_factory.mktemp("telemetry") / "store"
    env = {"MAX_SIZE": "10", "LOG_FORMAT": "json", "K_SINK": sink.url}
    with Store("split", root, upper=True, forked=True, **env) as store:
        yield store
        for process in store.processes.values():
            assert all({"timestamp", "severity", "logger", "function", "message"} <= set(x) for x in lines(process))


_numbers = itertools.count(1000)


@pytest.fixture
def store(alone, sink):
    """The batch is empty and open, and all facts so far are delivered."""
    number = next(_numbers)
    assert alone.cleanall(headers=parent(number)).status == 201
    wait_for(lambda: sink.events and sink.events[-1].get("traceparent", "")[3:35] == trace(number))
    sink.events.clear()
    return alone


def test_a_trace_goes_through_all_functions_into_their_lines_and_into_the_fact(store, sink):
    store.stored(segment(3), parent(1))
    body = b'{"user":"ada","token":"t"}'
    assert store.request("POST", "/train", body, parent(2, tracestate="rojo=1")).json()["resp"] == "FROZEN"
    spans = []
    for target in ("glitchflow", "logic", "freeze", "writer"):
        (line,) = of_trace(store.processes[target], 2)
        assert (line["function"], line["severity"]) == (target, "INFO")
        spans.append(line["span_id"])
    assert len({*spans, SPAN}) == 5  # each its own
    wait_for(lambda: sink.events)
    (fact,) = sink.events
    assert (fact["type"], fact["tracestate"]) == (f"{PREFIX}frozen", "rojo=1")
    assert fact["traceparent"] == f"00-{trace(2)}-{spans[-1]}-01"  # the writer's, where it was decided


def test_a_fact_that_is_delivered_by_the_next_writer_has_the_trace_of_its_request(store, sink):
    sink.refuse = 10**9
    assert store.freeze(headers=parent(3)).status == 201
    assert store.cleanall(headers=parent(4)).status == 201
    assert store.freeze().status == 201
    store.writer.kill()
    sink.refuse = 0
    store.writer.start("/health/readiness")
    wait_for(lambda: len(sink.distinct()) == 3)
    assert [fact.get("traceparent", "")[3:35] for fact in sink.distinct()] == [trace(3), trace(4), ""]


@pytest.mark.parametrize("mode", ["structured", "binary", "batch", "other hop"])
def test_the_trace_of_an_event_is_that_of_its_attributes(store, sink, mode):
    number = 10 + len(mode)
    about = {"specversion": "1.0", "type": f"{PREFIX}cleanall", "source": "/test", "id": mode}
    if mode == "binary":
        headers = {f"ce-{name}": value for name, value in {**about, **parent(number)}.items()}
        assert store.request("POST", "/cleanall", b"", headers).status == 204
    elif mode == "batch":
        events = [{**about, "id": str(i), **parent(number + i)} for i in range(2)]
        headers = {"Content-Type": "application/cloudevents-batch+json", **parent(99)}
        assert store.request("POST", "/cleanall", json.dumps(events), headers).status == 204
    else:
        more = parent(99) if mode == "other hop" else {}
        body = json.dumps({**about, **parent(number)})
        assert store.request("POST", "/cleanall", body, {**STRUCTURED, **more}).status == 204
    wanted = [trace(number), trace(number + 1)] if mode == "batch" else [trace(number)]
    wait_for(lambda: len(sink.events) == len(wanted))
    assert [fact["traceparent"][3:35] for fact in sink.events] == wanted
    assert of_trace(store.processes["cleanall"], number)
    assert not of_trace(store.writer, 99)


@pytest.mark.parametrize("route", ["/sendF", "/upddsc"])
def test_a_refused_request_has_one_line(store, route):
    number = 30 + len(route)
    event = {"specversion": "1.0", "type": f"{PREFIX}unheard-of", "source": "/t", "id": "1", **parent(number)}
    target = "ingest" if route == "/sendF" else "freeze"
    for body, headers in ((b'{"h":', parent(number)), (json.dumps(event), STRUCTURED)):
        before = len(lines(store.processes[target]))
        assert store.request("POST", route, body, headers).status == 400
        (line,) = lines(store.processes[target])[before:]
        assert {name: line[name] for name in ("status", "code", "method", "path", "address", "trace_id")} == {
            "status": 400, "code": "ERRFMT", "method": "POST", "path": route, "address": "127.0.0.1",
            "trace_id": trace(number),
        }  # fmt: skip
        assert (line["severity"], line["caller"]) == ("WARNING", "")
        assert line["reason"]
        assert line["request_id"]


GARBAGE = [
    "", "garbage", "00-0-0-00", f"00-{trace(0)}-{SPAN}-01", f"00-{trace(50)}-{'0' * 16}-01",
    f"ff-{trace(50)}-{SPAN}-01",
    f"00-{trace(50)}-{SPAN}-01-x", "\u00e4" * 55, f"00-{trace(50)}-{SPAN}-01, 00-{trace(50)}-{SPAN}-01", "0" * 4096,
]  # fmt: skip


def test_what_is_no_trace_breaks_nothing_and_goes_nowhere(store, sink):
    for text in GARBAGE:
        headers = {"traceparent": text.encode("latin-1"), "tracestate": "a=b"}
        store.stored(segment(), headers)
        assert store.freeze(headers=headers).status == 201
        assert store.cleanall(headers=headers).status == 201
    twice = [f"traceparent: 00-{trace(number)}-{SPAN}-01" for number in (50, 51)]
    for target, route in (("ingest", "/sendF"), ("freeze", "/upddsc")):  # both servers
        assert b" 400 " in exchanged(store.processes[target], head(route, 0, *twice), 1)
    wait_for(lambda: len(sink.events) == 2 * len(GARBAGE))
    assert not any("traceparent" in event or "tracestate" in event for event in sink.events)
    for process in store.processes.values():
        assert not of_trace(process, 50) + of_trace(process, 51) + of_trace(process, 0)


def head(route: str, length: int, *more: str) -> str:
    lines = f"POST {route} HTTP/1.1", "Host: localhost", f"Content-Length: {length}", *more
    return "\r\n".join((*lines, "", ""))


def exchanged(process: Process, sent: str, answers: int) -> bytes:
    """Send bytes on a connection of their own; return what comes until there are so many answers."""
    received = b""
    with socket.create_connection(("127.0.0.1", process.port), timeout=20) as s:
        s.sendall(sent.encode())
        while received.count(b"HTTP/1.1 ") < answers and (more := s.recv(65536)):
            received += more
    return received


def test_a_request_without_a_trace_gets_none_from_the_one_before_on_its_connection(store):
    before = len(lines(store.ingest))
    traced = head("/sendF", 1, f"traceparent: {parent(60)['traceparent']}")
    exchanged(store.ingest, f"{traced}{{{head('/sendF', 1)}[", 2)
    wait_for(lambda: len(lines(store.ingest)) == before + 2)
    assert [line.get("trace_id") for line in lines(store.ingest)[before:]] == [trace(60), None]


def test_a_thread_that_has_served_a_trace_serves_the_next_request_without_it(store, sink):
    """The writer's handlers run on threads, and so do those of freeze."""
    event = {"specversion": "1.0", "type": f"{PREFIX}freeze", "source": "/t", "data": {"user": "u", "token": "t"}}
    for number in range(6):
        traced = parent(61) if number % 2 else {}
        body = json.dumps({**event, "id": str(number), **traced})
        assert store.request("POST", "/upddsc", body, STRUCTURED).status == 204
    wait_for(lambda: len(sink.events) == 6)
    assert [fact.get("traceparent", "")[3:35] for fact in sink.events] == ["", trace(61)] * 3


def test_the_lines_of_the_servers_have_the_same_form(store):
    freeze = store.processes["freeze"]
    before = len(lines(freeze))
    exchanged(freeze, "NO HTTP\r\n\r\n", 1)
    wait_for(lambda: [x for x in lines(freeze)[before:] if x["logger"] == "gunicorn.error"])


def test_a_setting_that_cannot_be_used_is_told_in_the_same_form(tmp_path):
    env = {"ROOT": str(tmp_path / "store"), "LOG_FORMAT": "json", "MAX_BODY": "many"}
    process = Process("ingest", env, forked=True).start(wait="")
    assert process.wait_dead() == 2
    (line,) = lines(process)
    assert (line["severity"], line["message"][:16]) == ("CRITICAL", "MAX_BODY='many':")


# -- spans ----------------------------------------------------------------------------------------------------------


@pytest.mark.skipif(not importlib.util.find_spec("opentelemetry"), reason="needs the extra otel: make .venv/.extras")
def test_sampled_requests_are_exported_as_spans(tmp_path):
    """To a collector of the test's own, written by hand."""
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

    received: dict[str, dict[str, tuple[str, str, int]]] = {}

    class Collector(BaseHTTPRequestHandler):
        def do_POST(self):
            content = self.rfile.read(int(self.headers["Content-Length"]))
            assert self.path == "/v1/traces"
            for one in ExportTraceServiceRequest.FromString(content).resource_spans:
                (name,) = (x.value.string_value for x in one.resource.attributes if x.key == "service.name")
                for span in one.scope_spans[0].spans:
                    status = next(x for x in span.attributes if x.key == "http.response.status_code").value.int_value
                    about = span.span_id.hex(), span.parent_span_id.hex(), status
                    received.setdefault(span.trace_id.hex(), {})[f"{name} {span.name}"] = about
            done(self, 200)

        def log_message(self, *args):
            pass

    with serving(Collector) as port:
        env = {"ROOT": str(tmp_path / "store"), "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{port}"}
        env |= {"OTEL_BSP_SCHEDULE_DELAY": "100", "HOUSEKEEPING": "0.5"}
        writer = Process("writer", env, forked=True).start("/health/readiness")
        freeze = Process("freeze", {**env, "WRITER_URL": writer.url}, forked=True).start("/health/readiness")
        store = Store("split", tmp_path / "store")
        store.processes |= {"writer": writer, "freeze": freeze}
        try:
            assert store.freeze(headers={"traceparent": f"00-{trace(1)}-{SPAN}-00"}).status == 201  # not sampled
            assert store.freeze(headers=parent(2)).status == 201
            assert store.request("POST", "/upddsc", b"{", parent(3)).status == 400
            wait_for(lambda: len(received.get(trace(2), {})) == 2 and trace(3) in received)
        finally:
            freeze.stop()
            writer.stop()
    (first, above, status) = received[trace(2)]["freeze POST /upddsc"]
    assert (above, status) == (SPAN, 201)
    assert received[trace(2)]["writer POST /"][1:] == (first, 200)
    assert received[trace(3)]["freeze POST /upddsc"][2] == 400
    assert trace(1) not in received
