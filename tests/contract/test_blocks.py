"""Blocks over HTTP, on both topologies: stored as received, listed by what they hold, read back by channel."""

from __future__ import annotations

import array
import json
import threading
import time

import numpy
import pyarrow as pa
import pytest

from gwclient.sources import from_file
from tests.contract.test_round_trip import real, synthetic
from tests.support.blocks import (
    ARROW,
    NDJSON,
    NS,
    T0,
    arrakis_block,
    arrow_block,
    field,
    held,
    ndjson_block,
    segments,
    stream,
)
from tests.support.builders import segment
from tests.support.checks import name_in
from tests.support.extras import STRAIN
from tests.support.servers import http

BINARY = {
    "ce-specversion": "1.0",
    "ce-type": "eu.intertwin.datastore.segment",
    "ce-source": "/test",
    "Content-Type": ARROW,
}
THREE = [["V1", f"V1:CH_{i}", T0, 1 / 4096, 300] for i in range(3)]


@pytest.mark.parametrize(
    ("type", "body", "format"),
    [
        (ARROW, arrow_block(3), "arrow"),
        (f"{ARROW}; x=y", arrow_block(3), "arrow"),
        (NDJSON, ndjson_block(3), "ndjson"),
        (None, json.dumps(segments(3)).encode(), "list"),
        ("application/json", json.dumps(segments(3)).encode(), "list"),
    ],
)
def test_a_block_is_one_file_one_name_and_one_entry_that_lists_what_it_holds(store, type, body, format):
    answer = store.send(body, {"Content-Type": type} if type else {})
    assert answer.status == 201, answer.data
    name = name_in(answer.data)
    assert answer.json() == {"code": "RES_CREATE", "body": f"Written {name} for {len(body)} bytes"}
    assert store.files() == {name: body}
    assert store.check_exact() == {"n_itm": 1, "buff_size": len(body)}
    (entry,) = store.logged()
    assert (entry["format"], entry["n"]) == (format, 900)
    assert held(entry) == THREE
    assert "t0" not in entry
    answer = store.request("GET", "/segment", query=f"?name={name}")
    assert answer.data == body
    assert answer.headers["Content-Type"] == {"arrow": ARROW, "ndjson": NDJSON}.get(format, "application/json")


def test_blocks_and_segments_keep_their_order_and_their_counts(store):
    sent = [segment(1), arrow_block(5, 10), segment(2), ndjson_block(4, 20), arrow_block(2, 1, seed=7)]
    names = [
        store.stored(body, {"Content-Type": NDJSON} if body[:1] == b"{" and b"\n" in body else {}) for body in sent
    ]
    assert names == store.names() == sorted(names)
    assert store.names(f"?after={names[1]}") == names[2:]
    assert list(store.files().values()) == sent
    assert store.check_exact() == {"n_itm": 5, "buff_size": sum(map(len, sent))}
    assert [len(entry.get("holds", [])) for entry in store.logged()] == [0, 1, 0, 1, 1]


def test_a_block_comes_as_an_event_in_binary_mode_and_counts_once(store):
    body = arrow_block(3)
    for _ in range(3):
        answer = store.send(body, {**BINARY, "ce-id": "one"})
        assert (answer.status, answer.data) == (204, b"")
    assert store.check_exact()["n_itm"] == 1
    assert store.send(body[:-8], {**BINARY, "ce-id": "two"}).status == 400
    other = store.send(arrow_block(4), {**BINARY, "ce-id": "one"})
    assert (other.status, other.json()["code"]) == (422, "ERRKEY")
    listed = {"Content-Type": "application/cloudevents+json"}
    event = {"specversion": "1.0", "type": BINARY["ce-type"], "source": "/t", "id": "3", "data": segments(2, 5)}
    assert store.send(json.dumps(event), listed).status == 204
    assert store.check_exact()["n_itm"] == 2


def test_mixed_rates_types_gaps_and_batches_are_told_apart(store):
    fields = [field("V1:a", rate=8), field("V1:b", pa.int16(), rate=2), field("H1:c", pa.float32(), rate=4)]
    rows = [
        [T0 * NS, [1.0] * 8, [1, 2], None],
        [(T0 + 1) * NS, [1.0, None, *[1.0] * 6], [3, 4], [1.0] * 4],
        [(T0 + 2) * NS, [1.0] * 8, [], [1.0] * 4],
    ]
    body = stream(fields, rows, per_batch=2)
    name = store.stored(body, {"Content-Type": ARROW})
    (entry,) = store.logged()
    assert held(entry) == [
        ["V1", "V1:a", T0, 1 / 8, 9],
        ["V1", "V1:a", T0 + 1.25, 1 / 8, 14],
        ["V1", "V1:b", T0, 1 / 2, 4],
        ["H1", "H1:c", T0 + 1, 1 / 4, 8],
    ]
    answer = store.request("GET", "/segment", query=f"?name={name}&channel=V1:b")
    assert answer.json() == {"h": [1, 2, 3, 4], "t": [T0, 0.5], "detector": "V1", "channel": "V1:b"}
    answer = store.request("GET", "/segment", query=f"?name={name}&channel=V1:a&t0={T0 + 1.25}")
    assert answer.json()["t"] == [T0 + 1.25, 0.125]
    assert len(answer.json()["h"]) == 14
    again = store.stored(answer.data)  # a valid body for /sendF
    assert store.logged(f"?after={name}")[0]["n"] == 14
    assert again > name


@pytest.mark.parametrize("make", [arrow_block, ndjson_block])
def test_any_channel_of_a_block_is_answered_as_a_segment(store, make):
    body = make(4, 50)
    name = store.stored(body, {"Content-Type": NDJSON if make is ndjson_block else ARROW})
    for i in range(4):
        answer = store.request("GET", "/segment", query=f"?name={name}&channel=V1:CH_{i}")
        assert answer.status == 200
        found = answer.json()
        assert found["t"] == [T0, 1 / 4096]
        assert (found["detector"], found["channel"]) == ("V1", f"V1:CH_{i}")
        assert found["h"] == _sent(body, i)
    for query, words in ((f"?name={name}&channel=V1:no", "V1:no"), (f"?name={name}&channel=V1:CH_1&t0=5", "t0")):
        answer = store.request("GET", "/segment", query=query)
        assert (answer.status, answer.json()["code"]) == (404, "ERRFILE")
        assert words in answer.json()["body"]
    answer = store.request("GET", "/segment", query=f"?name={name}&channel=V1:CH_1&t0=x")
    assert (answer.status, answer.json()["code"]) == (400, "ERRFMT")


def _sent(body: bytes, channel: int) -> list[float]:
    if body[:1] == b"{":
        return json.loads(body.splitlines()[channel])["h"]
    return pa.ipc.open_stream(body).read_all().column(channel + 1)[0].as_py()


def test_a_segment_is_answered_by_its_channel_too(store):
    name = store.stored(b'{"h":[1.5,2],"t":[5,0.5],"channel":"V1:x","note":"kept"}')
    answer = store.request("GET", "/segment", query=f"?name={name}&channel=V1:x")
    assert answer.json() == {"h": [1.5, 2.0], "t": [5.0, 0.5], "detector": "V1", "channel": "V1:x"}
    assert store.request("GET", "/segment", query=f"?name={name}&channel=V1:y").status == 404


def test_any_run_of_a_channel_is_found_by_detector_and_first_time(store):
    runs = [(detector, t0) for detector in ("V1", "L1") for t0 in (0, 6.2e-05, T0 + 0.1)]
    items = [
        {"h": [i], "t": [t0, 1e-05], "detector": detector, "channel": "Hrec"} for i, (detector, t0) in enumerate(runs)
    ]
    name = store.stored(json.dumps(items).encode())
    for i, (detector, t0) in enumerate(runs):
        answer = store.request(
            "GET", "/segment", query=f"?name={name}&channel=Hrec&detector={detector}&t0={float(t0)!r}"
        )
        assert answer.status == 200, answer.data
        assert answer.json() == {"h": [i], "t": [t0, 1e-05], "detector": detector, "channel": "Hrec"}
    answer = store.request("GET", "/segment", query=f"?name={name}&channel=Hrec&detector=K1")
    assert (answer.status, answer.json()["code"]) == (404, "ERRFILE")
    assert "Hrec of K1" in answer.json()["body"]


def test_a_repeated_key_stores_a_block_once_and_another_payload_is_refused(store):
    body = arrow_block(3)
    headers = {"Content-Type": ARROW, "Idempotency-Key": "block-1"}
    names = {store.stored(body, headers) for _ in range(3)}
    assert len(names) == 1
    answer = store.send(arrow_block(3, seed=1), headers)
    assert (answer.status, answer.json()["code"]) == (422, "ERRKEY")
    assert store.check_exact()["n_itm"] == 1


def test_a_frozen_store_refuses_blocks_until_cleanall(store):
    store.stored(arrow_block(2), {"Content-Type": ARROW})
    store.freeze()
    before = store.files()
    answer = store.send(arrow_block(2), {"Content-Type": ARROW})
    assert (answer.status, answer.json()["code"]) == (503, "FROZEN")
    assert store.files() == before
    assert store.cleanall().status == 201
    archive = store.archives()[-1]
    (name,) = before
    assert (archive / name).read_bytes() == before[name]
    answer = store.request("GET", "/segment", query=f"?name={name}&channel=V1:CH_1&batch=all")
    assert len(answer.json()["h"]) == 300
    listed = store.request("GET", "/archives").json()["archives"][0]
    assert (listed["channels"], listed["span"]) == (["V1:CH_0", "V1:CH_1"], [T0, T0 + 300 / 4096])
    store.stored(arrow_block(2), {"Content-Type": ARROW})
    assert store.check_exact()["n_itm"] == 1


def block_of(channels: int) -> bytes:
    """A sample of each."""
    return stream([field(f"V1:{i}") for i in range(channels)], [[T0 * NS, *([[1.0]] * channels)]])


@pytest.mark.parametrize(
    ("type", "body", "words"),
    [
        (ARROW, b"", "cut short"),
        (ARROW, arrow_block(2)[:-8], "end marker"),
        (ARROW, b'{"h":[1],"t":[0,1]}', "Arrow IPC stream"),
        (ARROW, stream([field("V1:a"), field("V1:b")], [[T0 * NS, [1.0, 2.0], [1.0, float("nan")]]]), "V1:b"),
        (ARROW, stream([field("V1:a", rate=-4)], [[T0 * NS, [1.0]]]), "V1:a"),
        pytest.param(ARROW, lambda: block_of(16386), "16385", id="too many channels"),
        (NDJSON, b'{"h":[1],"t":[0,1],"channel":"V1:x"}\n{"h":[1],"t":[0,1]}', "segment 2"),
        (None, b"[]", "no segment"),
        (None, b'[{"h":[1],"t":[0,1],"channel":"V1:x"}', "truncated"),
    ],
)
def test_a_bad_block_is_refused_whole_and_leaves_nothing(store, type, body, words):
    body = body() if callable(body) else body
    store.stored(segment())
    before = store.check_exact()
    answer = store.send(body, {"Content-Type": type} if type else {})
    assert (answer.status, answer.json()["code"]) == (400, "ERRFMT"), answer.data
    assert words in answer.json()["body"]
    assert store.check_exact() == before
    assert store.ingest.alive


def test_a_block_may_be_longer_than_a_segment_and_no_longer_than_max_block(new_store, topology):
    store = new_store(topology, MAX_BODY="20000", MAX_BLOCK="400000")
    body = arrow_block(20, 2000)
    assert 300_000 < len(body) < 400_000
    store.stored(body, {"Content-Type": ARROW})
    for long, type in ((arrow_block(30, 2000), ARROW), (body, None), (ndjson_block(3, 2000), None)):
        answer = store.send(long, {"Content-Type": type} if type else {})
        assert (answer.status, answer.json()["code"]) == (413, "ERRSIZE")
    assert store.check_exact()["n_itm"] == 1


def test_a_long_block_does_not_hold_up_probes_and_segments(new_store, topology):
    """A block that is checked on a thread: everything else is answered meanwhile, and nothing is lost."""
    store = new_store(topology)
    body = arrow_block([f"V1:{i}" for i in range(400)], 5000)
    assert len(body) > 10 << 20
    answers = []
    threads = [threading.Thread(target=lambda: answers.append(store.send(body, {"Content-Type": ARROW}).status))
               for _ in range(3)]  # fmt: skip
    for thread in threads:
        thread.start()
    names = [store.stored(segment(n)) for n in range(1, 20)]
    for thread in threads:
        thread.join()
    assert answers == [201] * 3
    assert len(names) == 19
    assert store.check_exact()["n_itm"] == 22


def test_blocks_survive_a_kill_and_a_restart(new_store, topology):
    store = new_store(topology)
    sent = {store.stored(body, {"Content-Type": ARROW}): body for body in (arrow_block(3, seed=i) for i in range(5))}
    first = next(iter(sent))
    store.writer.kill()
    (store.data / first).unlink()  # restored from the spool
    store.writer.start("/health/readiness")
    assert store.files() == sent
    assert store.check_exact()["n_itm"] == 5
    assert [held(entry) for entry in store.logged()] == [THREE] * 5


def test_auto_freeze_counts_the_seconds_in_blocks(new_store, topology):
    store = new_store(topology, AUTO_FREEZE="true", MIN_SECONDS="2", MAX_SIZE="1")
    store.stored(arrow_block(2, 4096), {"Content-Type": ARROW})
    assert store.dstat()["dstatus"] == "OPERATIONAL"
    store.stored(arrow_block(2, 4096, t0=T0 + 1), {"Content-Type": ARROW})
    assert store.dstat()["dstatus"] == "FROZEN"


def test_metrics_count_runs_and_samples(store):
    def counts():
        lines = http.request("GET", store.ingest.url + "/metrics").data.decode().splitlines()
        names = [f"datastore_{name}_accepted_total " for name in ("segments", "runs", "samples")]
        return [float(next(line for line in lines if line.startswith(name)).split()[1]) for name in names]

    before = counts()
    store.stored(arrow_block(7, 30), {"Content-Type": ARROW})
    store.stored(b'{"h":[1,2,3],"t":[0,1]}')
    assert [now - then for now, then in zip(counts(), before, strict=True)] == [2, 8, 213]


def test_240_channels_of_real_strain_come_back_to_the_bit_through_every_reader(store):
    """As /segment answers them, as strain by GPS time, from the open batch and from the archive."""
    _, _, strain = (real if STRAIN.is_dir() else synthetic)("L1")
    unique = time.monotonic_ns()  # shared stores keep the archives of all tests
    names = [f"L1:BLOCK-{unique}_{i}" for i in range(240)]
    rows = [
        [(T0 + second) * NS, *(strain[100 * i + second * 4096 :][:4096] for i in range(240))] for second in range(2)
    ]
    sent = [store.stored(stream([field(name) for name in names], [row]), {"Content-Type": ARROW}) for row in rows]
    for batch in ("open", "all"):
        for i in (0, 1, 120, 239):
            expected = [sample for row in rows for sample in row[1 + i]]
            answers = [
                store.request("GET", "/segment", query=f"?name={name}&channel={names[i]}&batch={batch}")
                for name in sent
            ]
            assert [sample for answer in answers for sample in answer.json()["h"]] == expected
            query = f"?channel={names[i]}&start={T0}&duration=2&format=raw&batch={batch}"
            answer = store.request("GET", "/strain", query=query)
            assert answer.status == 200, answer.data
            assert answer.data == array.array("d", expected).tobytes()
        assert store.cleanall().status == 201
        listed = store.request("GET", "/channels", query=f"?channel=L1:BLOCK-{unique}_*&limit=1000").json()["channels"]
        assert {(one["channel"], one["seconds"], one["gaps"]) for one in listed} == {(name, 2.0, 0) for name in names}
    for i, name in enumerate(names):
        answer = store.request("GET", "/strain", query=f"?channel={name}&start={T0}&duration=2&format=raw")
        assert answer.data == array.array("d", [sample for row in rows for sample in row[1 + i]]).tobytes(), name


def test_a_channel_of_a_block_is_the_same_in_every_format_and_as_it_arrives(store, tmp_path):
    name = f"V1:FORMATS-{time.monotonic_ns()}"
    position = store.stored(segment(1))
    expected = numpy.random.default_rng(1).normal(scale=1e-21, size=4096)
    body = stream([field("V1:other"), field(name)], [[T0 * NS, [0.5] * 4096, expected.tolist()]])
    store.stored(body, {"Content-Type": ARROW})
    found = {}
    for format in ("json", "csv", "txt", "npy", "gwf", "hdf5"):
        query = f"?channel={name}&start={T0}&duration=1&format={format}"
        (tmp_path / f"s.{format}").write_bytes(store.request("GET", "/strain", query=query).data)
    found["json"] = json.loads((tmp_path / "s.json").read_bytes())["h"]
    for format in ("csv", "txt", "gwf", "hdf5"):
        found[format] = from_file(tmp_path / f"s.{format}", channel=name).samples
    found["npy"] = numpy.load(tmp_path / "s.npy")
    url = store.url("/live") + f"?format=ndjson&samples=true&channel={name}&after={position}"
    arrived = http.request("GET", url, preload_content=False)
    found["live"] = next(row["h"] for row in map(json.loads, arrived) if "name" in row)
    arrived.close()
    for reader, samples in found.items():
        assert numpy.asarray(samples, "f8").tobytes() == expected.tobytes(), reader


def test_what_arrakis_writes_is_stored_unmodified_and_read_back(store):
    body, sent = arrakis_block()
    name = store.stored(body, {"Content-Type": ARROW})
    assert store.files() == {name: body}
    query = f"?channel=V1:ENV_CEB&start={T0}&duration=3&format=raw&batch=open"
    assert store.request("GET", "/strain", query=query).data == sent["V1:ENV_CEB"].astype("<f8").tobytes()


@pytest.mark.parametrize(("route", "type"), [("/stream", ARROW), ("/streamdata", ARROW), ("/streamdata", NDJSON)])
def test_the_services_above_pass_blocks_on(services, route, type):
    body = arrow_block(5) if type == ARROW else ndjson_block(5)
    headers = {"Content-Type": type, "Idempotency-Key": f"{route}-{type}-{time.monotonic_ns()}"}
    for _ in range(2):
        answer = services.request("POST", route, body, headers)
        assert answer.status in (200, 201), answer.data
        assert services.check_exact() == {"n_itm": 1, "buff_size": len(body)}
    (entry,) = services.logged()
    assert len(held(entry)) == 5
    answer = services.request("POST", route, body[:-8] if type == ARROW else body[:-3], {"Content-Type": type})
    assert answer.status in (400, 422)


def test_the_status_page_counts_what_is_in_blocks(services):
    name = services.stored(arrow_block(6, 4096), {"Content-Type": ARROW})
    deadline = time.monotonic() + 10
    while True:
        shown = services.request("GET", "/status.json").json()
        if [entry["name"] for entry in shown["log"]] == [name] and shown["seconds"]:
            break
        assert time.monotonic() < deadline, shown
        time.sleep(0.1)
    assert (shown["seconds"], shown["longest"], shown["n_itm"]) == (6.0, 1.0, 1)
    (entry,) = shown["log"]
    assert (entry["channels"], entry["t0"], entry["n"], entry["format"]) == (6, T0, 6 * 4096, "arrow")
    assert "holds" not in entry  # which may be long
    assert (shown["strain"]["channel"], shown["strain"]["seconds"]) == ("V1:CH_0", 1.0)
