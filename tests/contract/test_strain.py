"""Strain by GPS time: what was streamed comes back bit for bit, with gaps to the sample, wherever the batch is."""

from __future__ import annotations

import array
import io
import json
import signal
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import quote

import numpy
import pytest

from gwclient.sources import text as text_source
from tests.contract.test_round_trip import real, synthetic
from tests.support.builders import segment
from tests.support.extras import STRAIN
from tests.support.frame_file import structures
from tests.support.load import post_all

T0 = 1126259446
RATE = 4096
GAP = (41_000, 52_345)  # sample numbers that were never sent
CHANNEL = "L1:STRAIN-{}"


def get(store, route, **query):
    text = "&".join(f"{name}={quote(str(value), safe='')}" for name, value in query.items())
    return store.request("GET", route, query=f"?{text}" if text else "")


def ok(store, route, **query):
    answer = get(store, route, **query)
    assert answer.status == 200, answer.data
    return answer


@pytest.fixture
def channel() -> str:
    """A channel that no other test has: shared stores keep the archives of all of them."""
    return CHANNEL.format(time.monotonic_ns())


def body(samples, first, stop, channel) -> bytes:
    return json.dumps({"h": samples[first:stop], "t": [T0 + first / RATE, 1 / RATE], "channel": channel}).encode()


@pytest.fixture
def streamed(store, channel):
    """Strain with an interruption, overlaps of other values, and a late arrival: the samples, None in the gap."""
    _, _, samples = (real if STRAIN.is_dir() else synthetic)("L1")
    samples = (samples + samples)[:60_000]
    cuts = [range(first, min(first + 1000, len(samples))) for first in range(0, len(samples), 1000)]
    late = [cut for cut in cuts if cut.start == 20_000]
    spans = [(cut.start, cut.stop) for cut in cuts if cut not in late]
    inside = [(max(a, low), min(b, high)) for a, b in spans for low, high in ((0, GAP[0]), (GAP[1], len(samples)))]
    bodies = [("", body(samples, a, b, channel)) for a, b in inside if a < b]
    assert {sent.status for sent in post_all(store.url("/sendF"), bodies, 1)} == {201}
    wrong = [-value for value in samples]
    for first, stop in ((500, 700), (19_500, 20_000), (GAP[0] - 300, GAP[0]), (len(samples) - 50, len(samples))):
        store.stored(body(wrong, first, stop, channel))
    store.stored(body(samples, 20_000, 21_000, channel))  # the late one
    return [None if GAP[0] <= i < GAP[1] else value for i, value in enumerate(samples)]


def hdf5(data: bytes) -> list[float]:
    h5py = pytest.importorskip("h5py")
    with h5py.File(io.BytesIO(data)) as file:
        (dataset,) = file.values()
        return dataset[()].tolist()


def gwf(data: bytes) -> list[float]:
    (vector,) = [fields for name, _, fields in structures(data).values() if name == "FrVect"]
    return array.array("d", vector["data"]).tolist()


READERS: dict[str, Callable[[bytes], list[float]]] = {
    "json": lambda data: json.loads(data)["h"],
    "csv": lambda data: [float(line.split(b",")[1]) for line in data.splitlines()],
    "npy": lambda data: numpy.load(io.BytesIO(data)).tolist(),
    "raw": lambda data: array.array("d", data).tolist(),
    "gwf": gwf,
    "hdf5": hdf5,
}


def check_everything(store, channel, samples):
    """Each format, over intervals on and off the grid, with gaps told and filled; returns the ETags."""
    etags = []
    for name, read in READERS.items():
        for first, stop in ((0, GAP[0]), (GAP[1], len(samples)), (19_900, 21_100), (5, 6)):
            answer = ok(store, "/strain", channel=channel, start=T0 + first / RATE, end=T0 + stop / RATE, format=name)
            assert read(answer.data) == samples[first:stop]
            assert answer.headers["X-GPS-Start"] == f"{T0 + first // RATE}.{round(first % RATE * 1e9 / RATE):09d}"
            assert (answer.headers["X-Sample-Rate"], answer.headers["X-Samples"]) == ("4096", str(stop - first))
            etags.append(answer.headers["ETag"])
    whole = {"channel": channel, "start": T0, "duration": len(samples) / RATE}
    gap = [T0 + GAP[0] / RATE, T0 + GAP[1] / RATE]
    missing = get(store, "/strain", **whole)
    assert missing.status == 409
    assert missing.json()["code"] == "GAP"
    assert missing.json()["missing"] == [gap]
    assert missing.json()["active"] == [[T0, gap[0]], [gap[1], T0 + len(samples) / RATE]]
    zero = READERS["raw"](ok(store, "/strain", **whole, format="raw", gaps="zero").data)
    assert zero == [value or 0.0 for value in samples]
    nan = READERS["npy"](ok(store, "/strain", **whole, format="npy", gaps="nan").data)
    assert [None if value != value else value for value in nan] == samples
    nulls = ok(store, "/strain", **whole, gaps="nan").json()["h"]
    assert nulls == samples
    pieces = ok(store, "/strain", **whole, gaps="split").json()
    assert [(piece["t"], len(piece["h"])) for piece in pieces] == [
        ([T0, 1 / RATE], GAP[0]), ([gap[1], 1 / RATE], len(samples) - GAP[1]),
    ]  # fmt: skip
    rows = ok(store, "/strain", **whole, gaps="split", format="csv").data.splitlines()
    assert len(rows) == len(samples) - (GAP[1] - GAP[0])
    assert rows[3].split(b",")[0] == b"%d.000732422" % T0
    coverage = ok(store, "/coverage", channel=channel).json()
    assert coverage["active"] == missing.json()["active"]
    assert coverage["gaps"] == [gap]
    assert coverage["overlaps"] == 200 + 500 + 300 + 50
    assert coverage["seconds"] == (len(samples) - (GAP[1] - GAP[0])) / RATE
    assert coverage["complete"] is False
    assert ok(store, "/coverage", channel=channel, end=gap[0]).json()["complete"] is True
    (row,) = ok(store, "/channels", channel=channel).json()["channels"]
    assert (row["samples"], row["gaps"], row["start"]) == (len(samples) - (GAP[1] - GAP[0]), 1, T0)
    return etags


def test_strain_comes_back_bit_for_bit_open_frozen_and_archived(store, channel, streamed):
    etags = check_everything(store, channel, streamed)
    assert store.freeze().status == 201
    assert check_everything(store, channel, streamed) == etags
    (batch,) = ok(store, "/channels", channel=channel, batch="open").json()["channels"][0]["batches"]
    assert store.cleanall().status == 201
    assert check_everything(store, channel, streamed) == etags
    assert get(store, "/channels", channel=channel, batch="open").json()["channels"] == []
    (archive,) = [a.name for a in store.archives() if channel in (a / "LogStream.json").read_text()]
    for name in (batch, archive):
        assert len(ok(store, "/channels", channel=channel, batch=name).json()["channels"]) == 1


def test_strain_goes_on_across_a_cleanall_and_the_first_batch_wins(store, channel):
    store.stored(segment(4096, t0=100.0, channel=channel))
    assert store.cleanall().status == 201
    store.stored(segment(4096, t0=100.5, channel=channel))
    answer = ok(store, "/strain", channel=channel, start=100, duration=1.5).json()
    first = json.loads(segment(4096))["h"]
    assert answer["h"] == first + first[2048:]
    (row,) = ok(store, "/channels", channel=channel).json()["channels"]
    assert len(row["batches"]) == 2
    assert row["seconds"] == 1.5
    alone = ok(store, "/strain", channel=channel, start=100.5, duration=1, batch="open").json()
    assert alone["h"] == first


def test_times_are_read_without_rounding(store, channel):
    """At 0.1 s spacing no sample time but the whole ones is a double; those digits mean the sample all the same."""
    store.stored(segment(30, t0=1126259446.3, dt=0.1, channel=channel))
    h = json.loads(segment(30))["h"]
    for start, expected in (("1126259446.3", 0), ("1126259446.4", 1), ("1126259446.400001", 2)):
        answer = ok(store, "/strain", channel=channel, start=start, end="1126259447.3")
        assert answer.json()["h"] == h[expected:10]
    assert answer.headers["X-GPS-Start"] == "1126259446.500000000"
    store.stored(
        segment(30, t0=T0 + 1 / 3, dt=1 / 3, channel=f"{channel}-3")
    )  # the next sample is at ...46.6666667, in digits
    assert ok(store, "/strain", channel=f"{channel}-3", start=T0 + 2 / 3, end=T0 + 5 / 3).json()["h"] == h[1:4]
    assert ok(store, "/coverage", channel=channel, format="segwizard").data == b"0\t1126259446.3\t1126259449.3\t3\n"
    assert ok(store, "/coverage", channel=channel, format="csv").data == b"1126259446.3,1126259449.3\n"
    flag = ok(store, "/coverage", channel=channel, format="flag").json()
    assert (flag["ifo"], flag["active"]) == ("L1", [[1126259446.3, 1126259449.3]])


def test_one_store_feeds_another(store, channel, streamed, new_store):
    other = new_store("embedded")
    pieces = ok(store, "/strain", channel=channel, start=T0, duration=len(streamed) / RATE, gaps="split").json()
    assert len(pieces) == 2
    for first, stop in ((0, 40_000), (GAP[1], len(streamed))):
        answer = ok(store, "/strain", channel=channel, start=T0 + first / RATE, end=T0 + stop / RATE)
        other.stored(answer.data)
    for first, stop in ((0, 40_000), (GAP[1], len(streamed))):
        query = {"channel": channel, "start": T0 + first / RATE, "end": T0 + stop / RATE, "format": "raw"}
        assert ok(other, "/strain", **query).data == ok(store, "/strain", **query).data


def test_text_is_read_back_by_the_client(store, channel, tmp_path):
    store.stored(segment(8192, t0=T0 + 1.0, channel=channel))
    path = tmp_path / "strain.txt"
    path.write_bytes(ok(store, "/strain", channel=channel, start=T0 + 1, duration=2, format="txt").data)
    strain = text_source.read(path, "L1", channel, None, None)
    assert (strain.t0, strain.rate) == (T0 + 1, RATE)
    assert strain.samples.tolist() == json.loads(segment(8192))["h"]
    path.write_bytes(ok(store, "/strain", channel=channel, start=T0 + 1, duration=2, format="csv").data)
    strain = text_source.read(path, "L1", channel, None, None)
    assert (strain.t0, strain.rate) == (T0 + 1, RATE)
    refused = get(store, "/strain", channel=channel, start=T0 + 1.5, duration=1, format="txt")
    assert (refused.status, refused.json()["code"]) == (400, "ERRFMT")


# -- cleanalls meanwhile ------------------------------------------------------------------------------------------


def test_a_download_goes_on_when_the_batch_is_archived(new_store, topology):
    store = new_store(topology)
    n, count = 1 << 16, 20  # 10 MB: more than what sockets hold
    samples = json.loads(segment(n))["h"]
    text = json.dumps(samples)
    bodies = [f'{{"h":{text},"t":[{100 + i * n / RATE},{1 / RATE}],"channel":"V1:X"}}'.encode() for i in range(count)]
    assert {sent.status for sent in post_all(store.url("/sendF"), [("", body) for body in bodies], 1)} == {201}
    query = f"?channel=V1:X&start=100&duration={count * n // RATE}&format=raw"
    answer = store.request("GET", "/strain", query=query, preload_content=False)
    begin = answer.read(1 << 10)
    assert store.cleanall().status == 201
    assert begin + answer.read() == array.array("d", samples).tobytes() * count
    again = store.request("GET", "/strain", query=query, headers={"If-None-Match": answer.headers["ETag"]})
    assert again.status == 304


def test_a_request_waits_while_the_files_are_moved(new_store):
    store = new_store("split", FAILPOINTS="clean.moved=stop")
    store.stored(segment(64, t0=1000.0, dt=1 / 64, channel="V1:X"))
    assert ok(store, "/channels").json()["channels"]  # strain has started, and knows the batch
    query = {"channel": "V1:X", "start": 1000, "duration": 1, "format": "raw"}
    with ThreadPoolExecutor(2) as threads:
        cleaned = threads.submit(store.cleanall)
        status = Path(f"/proc/{store.writer.process.pid}/stat")
        while status.read_text().rpartition(")")[2].split()[0] != "T":
            time.sleep(0.01)
        late = get(store, "/strain", **query)
        # The thread that stops its process may run on for a moment; then the batch may be in its archive already.
        if '"batch":2' not in store.journal.read_text():
            assert (late.status, late.json()["code"], late.headers["Retry-After"]) == (503, "RECOVERING", "1")
        answer = threads.submit(ok, store, "/strain", **query)
        store.writer.signal(signal.SIGCONT)
        assert answer.result().data == array.array("d", json.loads(segment(64))["h"]).tobytes()
        assert cleaned.result().status == 201


def test_what_was_acknowledged_is_answered_at_once_across_cleanalls(store, channel):
    h = json.loads(segment(64))["h"]
    done = threading.Event()
    statuses = []

    def archive() -> None:
        while not done.wait(0.1):
            statuses.append(store.cleanall().status)

    thread = threading.Thread(target=archive)
    thread.start()
    try:
        for second in range(60):
            store.stored(segment(64, t0=1000.0 + second, dt=1 / 64, channel=channel))
            answer = ok(store, "/strain", channel=channel, start=1000, duration=second + 1)
            assert answer.json()["h"] == h * (second + 1)
    finally:
        done.set()
        thread.join()
    assert set(statuses) == {201}
    (row,) = ok(store, "/channels", channel=channel).json()["channels"]
    assert (row["samples"], row["gaps"]) == (60 * 64, 0)
    assert len(row["batches"]) > 1


# -- HTTP ---------------------------------------------------------------------------------------------------------


def test_an_answer_is_read_in_parts_and_revalidated(store, channel):
    store.stored(segment(4096, t0=100.0, channel=channel))
    query = f"?channel={channel}&start=100&duration=1&format="

    def ask(format, method="GET", **headers):
        return store.request(method, "/strain", query=query + format, headers=headers)

    for format in ("raw", "npy"):
        whole = ask(format)
        etag, size = whole.headers["ETag"], len(whole.data)
        assert whole.headers["Accept-Ranges"] == "bytes"
        assert whole.headers["Content-Length"] == str(size)
        for asked, start, stop in (("0-9", 0, 10), ("1001-2003", 1001, 2004), ("5000-", 5000, size),
                                   ("-100", size - 100, size), ("0-99999999", 0, size)):  # fmt: skip
            part = ask(format, Range=f"bytes={asked}")
            assert part.status == 206
            assert part.data == whole.data[start:stop]
            assert part.headers["Content-Range"] == f"bytes {start}-{stop - 1}/{size}"
        beyond = ask(format, Range=f"bytes={size}-")
        assert (beyond.status, beyond.headers["Content-Range"]) == (416, f"bytes */{size}")
        assert beyond.json()["code"] == "ERRRANGE"
        assert ask(format, Range="bytes=0-9", **{"If-Range": etag}).status == 206
        assert ask(format, Range="bytes=0-9", **{"If-Range": '"other"'}).data == whole.data
        assert ask(format, Range="bytes=0-9,20-29").data == whole.data
        fresh = ask(format, **{"If-None-Match": f'"other", {etag}'})
        assert (fresh.status, fresh.data, fresh.headers["ETag"]) == (304, b"", etag)
        assert ask(format, **{"If-None-Match": '"other"'}).status == 200
        head = ask(format, "HEAD")
        assert (head.status, head.data) == (200, b"")
        assert {name: head.headers[name] for name in ("ETag", "Content-Length", "X-Samples", "X-GPS-Start")} == {
            "ETag": etag, "Content-Length": str(size), "X-Samples": "4096", "X-GPS-Start": "100.000000000",
        }  # fmt: skip
    json_answer = ask("json", Range="bytes=0-9")
    assert (json_answer.status, json_answer.headers["Accept-Ranges"]) == (200, "none")
    assert ask("json", **{"If-None-Match": json_answer.headers["ETag"]}).status == 304
    head = ask("json", "HEAD")
    assert head.headers["X-Samples"] == "4096"
    assert "Content-Length" not in head.headers  # it is not known


@pytest.mark.parametrize(("accept", "type"), [
    ("text/csv", "text/csv"),
    ("application/x-npy, text/csv;q=0.5", "application/x-npy"),
    ("text/csv;q=0.5, application/x-npy", "application/x-npy"),
    ("text/html, */*;q=0.8", "application/json"),
    ("application/octet-stream", "application/octet-stream"),
])  # fmt: skip
def test_the_format_is_chosen_by_accept(store, channel, accept, type):
    store.stored(segment(16, t0=100.0, dt=1 / 16, channel=channel))
    query = f"?channel={channel}&start=100&duration=1"
    answer = store.request("GET", "/strain", query=query, headers={"Accept": accept})
    assert answer.headers["Content-Type"].partition(";")[0] == type
    refused = store.request("GET", "/strain", query=query, headers={"Accept": "image/png"})
    assert (refused.status, refused.json()["code"]) == (406, "ERRACCEPT")


# -- errors -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("query", "status", "code", "says"), [
    ("start=100", 400, "ERRFMT", "`end`"),
    ("start=1e2&duration=1", 400, "ERRFMT", "`start`"),
    ("start=nan&duration=1", 400, "ERRFMT", "`start`"),
    ("start=-5&duration=1", 400, "ERRFMT", "`start`"),
    ("start=99999999999&duration=1", 400, "ERRFMT", "`start`"),
    ("start=101&end=100", 400, "ERRFMT", "`end` must be after"),
    ("start=100&end=101&duration=1", 400, "ERRFMT", "either"),
    ("start=100&duration=1&gaps=maybe", 400, "ERRFMT", "error, nan, zero, split"),
    ("start=100&duration=1&gaps=split&format=raw", 400, "ERRFMT", "json, csv"),
    ("start=100&duration=1&rate=fast", 400, "ERRFMT", "`rate`"),
    ("start=100&duration=1&format=xlsx", 406, "ERRACCEPT", "json, csv"),
    ("start=100&duration=2000000000", 400, "ERRSPAN", "ask for 2.09715e+06 s at a time"),
    ("start=200&duration=1", 404, "NODATA", "from 200 to 201"),
    ("start=100&duration=1&rate=16", 404, "NODATA", "/channels"),
    ("start=100&duration=1&batch=../data", 404, "ERRFILE", "/archives"),
    ("start=100&duration=1&batch=0", 404, "ERRFILE", "`batch`"),
    ("start=100&duration=1&channel=V1:b", 400, "ERRFMT", "`channel` stands twice"),
])  # fmt: skip
def test_what_cannot_be_answered_says_what_would_work(store, channel, query, status, code, says):
    store.stored(segment(8, t0=100.0, dt=1 / 8, channel=channel))
    answer = store.request("GET", "/strain", query=f"?channel={channel}&{query}")
    assert (answer.status, answer.json()["code"]) == (status, code)
    assert says in answer.json()["body"]


def test_a_request_without_a_channel_is_told_so(store):
    for route in ("/strain", "/coverage"):
        answer = get(store, route, start=100, duration=1)
        assert (answer.status, answer.json()["code"]) == (400, "ERRFMT")
        assert "`channel`" in answer.json()["body"]
    unknown = get(store, "/strain", channel="V1:none", start=100, duration=1)
    assert (unknown.status, unknown.json()["code"]) == (404, "NODATA")


def test_slashes_and_dots_in_a_name_are_no_obstacle_in_hdf5(store, channel):
    h5py = pytest.importorskip("h5py")
    for name in (f"{channel}/", f"{channel}/./", f"../{channel}//b"):
        store.stored(segment(4, t0=100.0, dt=1 / 4, channel=name, detector="L1"))
        for layout in ("gwpy", "pycbc", "dtvirgo", "gwosc"):
            answer = ok(store, "/strain", channel=name, start=100, duration=1, format="hdf5", layout=layout)
            with h5py.File(io.BytesIO(answer.data)) as file:
                place = {"dtvirgo": f"100/{name}", "gwosc": "strain/Strain"}.get(layout, name)
                assert len(file[place][()]) == 4
    store.stored(segment(4, t0=100.0, dt=1 / 4, channel="."))
    answer = get(store, "/strain", channel=".", start=100, duration=1, format="hdf5")
    assert answer.status == 400
    assert "another format" in answer.json()["body"]


def test_several_streams_are_listed(store, channel):
    store.stored(segment(8, t0=100.0, dt=1 / 8, channel=channel))
    store.stored(segment(16, t0=100.0, dt=1 / 16, channel=channel))
    answer = get(store, "/strain", channel=channel, start=100, duration=1)
    assert (answer.status, answer.json()["code"]) == (409, "AMBIGUOUS")
    assert answer.json()["streams"] == [
        {"detector": "L1", "channel": channel, "rate": 8.0}, {"detector": "L1", "channel": channel, "rate": 16.0},
    ]  # fmt: skip
    assert len(ok(store, "/strain", channel=channel, start=100, duration=1, rate=16).json()["h"]) == 16
    assert get(store, "/coverage", channel=channel).status == 409


def test_a_stream_is_chosen_by_the_rate_with_which_it_is_listed(store, channel):
    """Clients with one time for each sample send intervals whose last digits differ."""
    for samples, dt in ((3, 0.3), (4, 0.3 * (1 + 2e-7))):
        store.stored(segment(samples, t0=100.0, dt=dt, channel=channel))
    listed = ok(store, "/channels", channel=channel).json()["channels"]
    assert [row["samples"] for row in sorted(listed, key=lambda row: -row["rate"])] == [3, 4]
    for row in listed:
        answer = ok(store, "/strain", channel=channel, rate=row["rate"], start=99, duration=9, gaps="split")
        assert len(answer.json()["h"]) == row["samples"]
        assert ok(store, "/coverage", channel=channel, rate=row["rate"]).json()["rate"] == row["rate"]
    assert get(store, "/coverage", channel=channel, rate=10 / 3 * (1 - 1e-7)).status == 409


def test_channels_are_listed_in_pages_and_filtered(store, channel):
    names = [f"{channel}-{letter}" for letter in "ABCDE"]
    for number, name in enumerate(names):
        store.stored(segment(8, t0=100.0 + 10 * number, dt=1 / 2**number, channel=name))
    found: list[str] = []
    after = ""
    for _ in range(4):
        page = ok(store, "/channels", channel=f"{channel}-*", limit=2, after=after).json()
        found += [row["channel"] for row in page["channels"]]
        after = page["next"]
        if after is None:
            break
    assert found == names

    def listed(**filters):
        rows = ok(store, "/channels", channel=f"{channel}-*", **filters).json()["channels"]
        return [row["channel"][-1] for row in rows]

    assert listed(min_rate=2, max_rate=8) == ["B", "C", "D"]
    assert listed(start=109, end=121) == ["B", "C"]
    assert listed(detector="L1") == ["A", "B", "C", "D", "E"]
    assert listed(detector="V1") == []
    assert [row["channel"] for row in ok(store, "/channels", channel=f"{channel}-[AC]").json()["channels"]] == [
        names[0], names[2],
    ]  # fmt: skip
    hostile = get(store, "/channels", channel="*a" * 128)
    assert hostile.json()["channels"] == []
    for bad in ({"after": "x"}, {"channel": "*" * 257}, {"limit": 0}):
        assert get(store, "/channels", **bad).status == 400


def test_a_damaged_file_is_never_sent(new_store, topology):
    store = new_store(topology)
    name = store.stored(segment(8, t0=100.0, dt=1 / 8, channel="V1:X"))
    path = store.data / name
    path.write_bytes(path.read_bytes().replace(b"2e-21", b"3e-21"))
    answer = get(store, "/strain", channel="V1:X", start=100, duration=1)
    assert (answer.status, answer.json()["code"]) == (500, "ERRDATA")


def test_a_segment_of_an_archive_is_read_and_checked(store):
    sent = segment(8, t0=100.0)
    name = store.stored(sent)
    assert store.cleanall().status == 201
    assert get(store, "/segment", name=name).status == 404
    assert ok(store, "/segment", name=name, batch="all").data == sent
    archive = next(a for a in store.archives() if (a / name).exists())
    assert ok(store, "/segment", name=name, batch=archive.name).data == sent
    number = json.loads((archive / "LogStream.json").read_text().splitlines()[0])["batch"]
    assert ok(store, "/segment", name=name, batch=number).data == sent
    assert get(store, "/segment", name=name, batch="open").status == 404
    for batch in ("..", "../adm", f"{archive.name}/.", "no such"):
        assert get(store, "/segment", name=name, batch=batch).status == 404
    (archive / name).write_bytes(sent.replace(b"1e-21", b"2e-21"))
    damaged = get(store, "/segment", name=name, batch="all")
    assert (damaged.status, damaged.json()["code"]) == (500, "ERRDATA")
    (archive / name).write_bytes(sent)
