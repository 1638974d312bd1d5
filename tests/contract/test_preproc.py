"""Preproc: spectrograms of a frozen batch, made once, whole or not at all, and never beside another batch."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import importlib.util
import json
import math
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
import warnings
from html import escape
from pathlib import Path
from threading import Thread
from urllib.parse import quote

import pytest

from shared import events
from tests.support import ROOT
from tests.support.builders import segment
from tests.support.checks import check_archive
from tests.support.event_sink import Sink
from tests.support.extras import STRAIN, needs_preproc
from tests.support.load import post_all
from tests.support.servers import Process, Store, http

CHUNK = 300
SPECTROGRAM = "eu.intertwin.datastore.spectrogram"


class Bench:
    """A store with preproc: embedded it works by itself, split it is told of a freeze as a broker would tell it."""

    def __init__(self, store, **env):
        self.store = store
        self.env = {**store.env, **env}
        self.process = store.writer
        if store.topology == "split":
            self.process = store.processes["preproc"] = Process("preproc", self.env, forked=True)
            self.process.start("/health/readiness")

    def stream(self, samples, t0, rate, **about):
        bodies = []
        for start in range(0, len(samples), CHUNK):
            part = {"h": samples[start : start + CHUNK], "t": [t0 + start / rate, 1 / rate], **about}
            bodies.append(("", json.dumps(part).encode()))
        random.Random(1).shuffle(bodies)  # of several clients, or of one with several requests in flight
        assert {sent.status for sent in post_all(self.store.url("/sendF"), bodies, 8)} == {201}

    def freeze(self, batch=1, **kw):
        """Freeze, and have the products made."""
        assert self.store.freeze(**kw).status == 201
        if self.store.topology == "split":
            self.told = self.tell(batch)
        wait_for(lambda: self.listing()["batch"] == batch)
        return self.manifest()

    def tell(self, batch):
        headers, body = events.encode(events.FROZEN, "/datastore", f"{batch}-100", {"batch": batch, "n_itm": 1})
        return http.request("POST", self.process.url + "/", body=body, headers=headers)

    def post(self):
        return http.request("POST", self.process.url + "/preproc", timeout=120)  # the answer waits for the job

    def post_to(self, path):
        return http.request("POST", self.process.url + path)

    def get(self, path):
        return http.request("GET", self.process.url + path)

    def listing(self):
        return self.get("/products").json()

    def products(self):
        """The list of products without the state, which goes on."""
        return {key: value for key, value in self.listing().items() if key != "preproc"}

    def state(self):
        return self.listing()["preproc"]

    def manifest(self):
        return self.get("/products/manifest.json").json()

    @property
    def folder(self) -> Path:
        return self.store.root / "datavar" / "products"


@pytest.fixture
def bench(topology, new_store):
    """In each topology, for what differs between them."""
    return Bench(new_store(topology, PREPROC="auto"))


@pytest.fixture
def embedded(new_store):
    """For what happens in the job's process, which is the same everywhere."""
    return Bench(new_store("embedded", PREPROC="auto"))


@pytest.fixture(scope="session")  # a worker may pass tests of other modules in between
def made(tmp_path_factory):
    """A store with the products of a batch of many channels, which tests only read."""
    with Store("embedded", tmp_path_factory.mktemp("made") / "store", forked=True) as store:
        leftover = store.root / "datavar" / ".products.next" / "old"
        leftover.mkdir(parents=True)
        bench = Bench(store)
        for detector in ("H1", "L1", "V1"):
            samples, channel = sample(detector)
            bench.stream(samples, 968654552, 16384, detector=detector, channel=channel)
        bench.stream(noise(8192), 1000, 4096)
        stream_with_gaps(bench)
        send_block(bench)
        store.freeze()
        assert bench.post().status == 201
        assert not leftover.exists()
        yield bench


EVIL = "V1:<script>alert(1)</script>"


def stream_with_gaps(bench):
    rate = 1024
    samples = noise(rate * 4)
    bench.stream(samples[:1500], 1000, rate, detector="V1")
    bench.stream(samples[1200:2100], 1000 + 1200 / rate, rate, detector="V1")  # 300 samples once more
    bench.stream(samples[3000:], 1000 + 3000 / rate, rate, detector="V1")
    bench.stream(samples[:600], 1000, rate, detector="H1")
    bench.stream([1.0] * 30, 1000 + 700 / rate, rate, detector="H1")


def send_block(bench):
    """Channels whose folders would have one name, of which one has a burst; a slow one; one that does not change."""
    burst = [h + (1e-19 * math.sin(i) if 2200 < i < 2240 else 0) for i, h in enumerate(noise(4200, 3))]
    channels = {
        "V1:A-B": (noise(4200, 2), 4096), EVIL: (burst, 4096), "V1:A_B": (noise(4200, 4), 4096),
        "V1:SLOW": (noise(100), 64), "V1:FLAT": ([0.0] * 4200, 4096),
    }  # fmt: skip
    lines = [json.dumps({"h": h, "t": [2000, 1 / rate], "channel": name}) for name, (h, rate) in channels.items()]
    headers = {"Content-Type": "application/x-ndjson"}
    assert bench.store.send("\n".join(lines).encode(), headers).status == 201


def streams_at(manifest, rate):
    return [stream for stream in manifest["streams"] if stream["rate"] == rate]


def wait_for(condition, timeout=90.0):
    deadline = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.05)


def noise(n, seed=1):
    source = random.Random(seed)
    return [source.gauss(0, 1e-21) for _ in range(n)]


def gwpy():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import gwpy.spectrogram
        import gwpy.timeseries
    return gwpy


def sample(detector):
    """The real strain inside gwpy's wheel: 1 s at 16384 Hz."""
    import h5py

    spec = importlib.util.find_spec("gwpy")
    assert spec
    assert spec.submodule_search_locations
    folder = spec.submodule_search_locations[0]
    with h5py.File(f"{folder}/testing/data/HLV-HW100916-968654552-1.hdf") as file:
        (name,) = (name for name in file if name.startswith(detector))
        return file[name][()].tolist(), name


# -- the science ----------------------------------------------------------------------------------------------


@needs_preproc
@pytest.mark.skipif(not STRAIN.is_dir(), reason=f"no real strain in {STRAIN}")
def test_gw150914_is_the_loudest_pixel(bench):
    import h5py

    (path,) = STRAIN.glob("L-L1_LOSC_4_V2-*.hdf5")
    with h5py.File(path) as file:
        samples = file["strain/Strain"][()]
    bench.stream(samples.tolist(), 1126259446, 4096, detector="L1")
    manifest = bench.freeze()
    assert manifest["verdict"] == "done"
    assert [stream["gaps"] for stream in manifest["streams"]] == [[]]

    (name,) = (file["name"] for file in manifest["files"] if file["name"].endswith(".hdf5"))
    module = gwpy()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        spectrogram = module.spectrogram.Spectrogram.read(str(bench.folder / name))
    assert spectrogram.dtype == "float32"
    assert (str(spectrogram.xunit), str(spectrogram.yunit), str(spectrogram.unit)) == ("s", "Hz", "")
    assert (spectrogram.x0.value, spectrogram.xspan[1]) == (1126259447.0, 1126259477.0)
    row, column = divmod(int(spectrogram.value.argmax()), spectrogram.shape[1])
    assert abs(spectrogram.times.value[row] - 1126259462.417) < 0.05
    assert 120 < spectrogram.frequencies.value[column] < 230

    # It is what gwpy alone makes of the same array: nothing was lost or moved on the way.
    assert (alone_of(path).value == spectrogram.value).all()


@functools.cache
def alone_of(path):
    import h5py

    with h5py.File(path) as file, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        series = gwpy().timeseries.TimeSeries(file["strain/Strain"][()], t0=1126259446, sample_rate=4096)
        return series.q_transform(frange=(20, 500), logf=False, outseg=(1126259447, 1126259477), tres=1 / 128)


@needs_preproc
def test_one_second_at_16384_hz_is_enough(made):
    manifest = made.manifest()
    assert manifest["verdict"] == "done"
    found = streams_at(manifest, 16384.0)
    assert {stream["detector"]: stream["channel"] for stream in found} == {d: sample(d)[1] for d in ("H1", "L1", "V1")}
    for stream in found:
        (one,) = stream["spectrograms"]
        assert (one["verdict"], one["fftlength"], one["fduration"], one["qrange"]) == ("done", 0.25, 0.25, [4, 32])
        assert one["strain"] == [968654552.0, 968654553.0]
        files = {file["name"] for file in manifest["files"] if file["name"].startswith(one["folder"] + "/")}
        names = ("spectrogram.hdf5", "spectrogram.png", "thumbnail.png")
        assert files == {f"{one['folder']}/{name}" for name in names}


@needs_preproc
def test_products_are_described_and_served(made):
    manifest, listing = made.manifest(), made.listing()
    names = [product["name"] for product in listing["products"]]
    assert names == [*(file["name"] for file in manifest["files"]), "manifest.json"]
    assert sorted(names) == sorted(
        os.path.relpath(path, made.folder) for path in made.folder.rglob("*") if path.is_file()
    )
    for product in listing["products"]:
        answer = made.get(product["url"])
        assert answer.status == 200
        assert len(answer.data) == product["size"]
        assert answer.data == (made.folder / product["name"]).read_bytes()
    for file in manifest["files"]:
        assert hashlib.sha256((made.folder / file["name"]).read_bytes()).hexdigest() == file["sha256"]
    png = made.get("/products/strain-1000-2/spectrogram.png")
    assert png.headers["Content-Type"] == "image/png"
    assert png.data.startswith(b"\x89PNG")
    (shown,) = (product for product in listing["products"] if product["name"] == "strain-1000-2/spectrogram.png")
    assert shown["thumbnail"] == "/products/strain-1000-2/thumbnail.png"
    assert manifest["versions"]["gwpy"]


@needs_preproc
def test_gaps_and_overlaps_are_found_and_reported(made):
    rate = 1024
    manifest = made.manifest()
    h1, v1 = streams_at(manifest, rate)
    assert v1["spans"] == [[1000.0, 1000 + 2100 / rate], [1000 + 3000 / rate, 1000 + 4096 / rate]]
    assert v1["gaps"] == [[1000 + 2100 / rate, 1000 + 3000 / rate]]
    assert v1["overlapping_samples"] == 300
    assert [one["verdict"] for one in v1["spectrograms"]] == ["done", "done"]
    assert [one["verdict"] for one in h1["spectrograms"]] == ["done", "too short"]
    assert manifest["verdict"] == "done"


# -- many channels --------------------------------------------------------------------------------------------


@needs_preproc
def test_the_loud_channel_leads_the_summary_and_no_failure_is_silent(made):
    """One file without references to others but pictures, in which nothing that a client sent is a tag."""
    reports = {stream["channel"]: stream["spectrograms"] for stream in streams_at(made.manifest(), 4096.0)}
    folders = {channel: one["folder"] for channel, (one, *_) in reports.items() if one["verdict"] == "done"}
    assert (folders["V1:A-B"], folders["V1:A_B"]) == ("V1-A_B-2000-2", "V1-A_B-2000-2-2")
    state = made.state()
    assert (state["state"], state["reason"]) == ("done", "1 failed, 1 no signal, 1 too short")

    answer = made.get("/products/summary.html")
    assert answer.headers["Content-Type"].startswith("text/html")
    assert "sandbox" in answer.headers["Content-Security-Policy"]
    html = answer.data.decode()
    rows = re.findall("<tr>.*?</tr>", html[html.index("<tbody>") :])
    pieces = [one for stream in made.manifest()["streams"] for one in stream["spectrograms"]]
    assert len(rows) == len(pieces)
    assert escape(EVIL) in rows[0]
    assert EVIL not in html
    assert sum("<img" in row for row in rows) == sum(one["verdict"] == "done" for one in pieces)
    for name, text in (("V1:SLOW", "failed: sampled at under"), ("V1:FLAT", "no signal: 4200 equal samples")):
        (row,) = (row for row in rows if f">{name}<" in row)
        assert text in row
    targets = set(re.findall(r"(?:src|href)=[\"']?([^\"' >]+)", html))
    assert {target for target in targets if not target.startswith("data:image/png;base64,")} == {
        file["name"] for file in made.manifest()["files"] if file["name"].endswith("spectrogram.png")
    }
    assert "http" not in re.sub('base64,[^"]*', "", html)


@needs_preproc
def test_the_overview_shows_when_each_channel_is_loud_and_where_it_has_nothing(tmp_path):
    import numpy

    from shared.preproc.overview import Overview

    overview = Overview(["V1:A", "V1:$x$"], 100.0, 200.0)
    overview.add(0, 100.0, 1.0, [80.0 if second == 60 else 5.0 for second in range(100)])
    overview.add(1, 100.0, 0.01, [7.0] * 5000)  # finer than a column
    overview.add(1, 110.0, 0.01, [6.0, 900.0, 6.0])  # the louder of two stays
    loud, half = overview.energies
    assert numpy.flatnonzero(loud > 5).tolist() == list(range(720, 732))
    assert numpy.flatnonzero(numpy.isnan(half)).tolist() == list(range(600, 1200))
    assert numpy.flatnonzero(half > 7).tolist() == [120]
    for name in ("1.png", "2.png"):
        overview.save(str(tmp_path / name))
    content = (tmp_path / "1.png").read_bytes()
    assert content.startswith(b"\x89PNG")
    assert (tmp_path / "2.png").read_bytes() == content


@needs_preproc
def test_the_processes_of_a_job_that_is_killed_end_too_and_products_are_the_same(made, new_store):
    bench = Bench(new_store("embedded", PREPROC="auto", FAILPOINTS="preproc.half=stop"))
    send_block(bench)
    bench.store.freeze()
    wait_for(lambda: stopped_child(bench.process))
    job = stopped_child(bench.process)
    workers = [int(pid) for pid in Path(f"/proc/{job}/task/{job}/children").read_text().split()]
    assert len(workers) == min(2, len(os.sched_getaffinity(0))) or len(os.sched_getaffinity(0)) == 1
    os.kill(job, signal.SIGKILL)
    wait_for(lambda: not any(Path(f"/proc/{pid}").exists() for pid in workers))
    wait_for(lambda: stopped_child(bench.process) not in (0, job))
    assert not bench.folder.exists()
    assert bench.state()["state"] == "running"
    while bench.state()["state"] == "running":
        if child := stopped_child(bench.process):
            os.kill(child, signal.SIGCONT)
        time.sleep(0.02)
    before = {product["name"]: product for product in made.manifest()["files"] if product["name"].startswith("V1-")}
    files = [file for file in bench.manifest()["files"] if "/" in file["name"]]
    assert len(files) == 9
    assert [before[file["name"]] for file in files] == files


# -- the state ------------------------------------------------------------------------------------------------


@needs_preproc
def test_the_state_goes_from_waiting_to_the_verdict(topology, new_store):
    bench = Bench(new_store(topology, PREPROC="auto", FAILPOINTS="preproc.half=stop@2"))
    bench.stream(noise(4200), 1000, 4096, detector="H1")
    bench.stream(noise(4200), 1000, 4096, detector="L1")
    assert bench.state() == {"state": "waiting", "since": "", "done": 0, "of": 0, "reason": "the batch is not frozen"}
    bench.store.freeze()
    threads = [Thread(target=bench.tell, args=(1,))] if topology == "split" else []
    for thread in threads:
        thread.start()
    wait_for(lambda: stopped_child(bench.process))
    state = bench.state()
    assert (state["state"], state["done"], state["of"]) == ("running", 1, 2)
    assert state["since"].endswith("Z")
    os.kill(stopped_child(bench.process), signal.SIGCONT)
    wait_for(lambda: bench.state()["state"] == "done")
    for thread in threads:
        thread.join()
    pictures = [product for product in bench.listing()["products"] if product["name"].endswith("/spectrogram.png")]
    assert [picture["detector"] for picture in pictures] == ["H1", "L1"]
    for picture in pictures:
        begin, end = picture["span"]
        assert 1000 < begin < picture["loudest"]["gps"] < end < 1000 + 4200 / 4096
        assert 20 <= picture["loudest"]["frequency"] <= 500


@needs_preproc
def test_a_job_that_fails_leaves_its_reason_and_is_tried_again_on_request(topology, new_store):
    """Whatever fails in the job: here it has no folder for its products, and then has one."""
    bench = Bench(new_store(topology))
    bench.stream(noise(4200), 1000, 4096)
    bench.store.freeze()
    assert bench.state()["state"] == "off"
    in_the_way = bench.store.root / "datavar" / ".products.next"
    in_the_way.write_text("a file where a folder belongs")
    for attempt in (1, 2, 3):
        answer = bench.post()
        assert (answer.status, answer.json()["code"]) == (507, "ERRIO")
        assert bench.state()["reason"].startswith(f"attempt {attempt} of 3 failed: " if attempt < 3 else "preparing")
    assert bench.state()["state"] == "failed"
    in_the_way.unlink()
    assert bench.post().json()["verdict"] == "done"
    assert bench.state()["state"] == "done"


@needs_preproc
def test_a_batch_that_was_archived_with_its_products_still_shows_them(topology, new_store):
    bench = Bench(new_store(topology))
    bench.stream(noise(4200), 1000, 4096, channel="V1:h")
    bench.store.freeze()
    assert bench.post().status == 201
    made = {product["name"]: bench.get(product["url"]).data for product in bench.listing()["products"]}
    bench.store.cleanall()
    assert bench.state()["reason"] == "PREPROC is off: POST /preproc makes the products"
    (archive,) = bench.store.archives()
    listing = bench.get(f"/archives/{quote(archive.name)}/products").json()
    assert (listing["batch"], listing["verdict"]) == (1, "done")
    assert {product["name"]: bench.get(product["url"]).data for product in listing["products"]} == made
    assert listing["products"][1]["channel"] == "V1:h"
    before = (archive / "products").stat().st_ino
    assert bench.post_to(f"/archives/{quote(archive.name)}/preproc").json() == listing  # nothing is made twice
    assert (archive / "products").stat().st_ino == before
    shutil.rmtree(archive / "products")
    answer = bench.post_to(f"/archives/{quote(archive.name)}/preproc")
    assert (answer.status, answer.json()["verdict"]) == (201, "done")
    assert {p["name"]: p.get("loudest") for p in answer.json()["products"]} == {
        p["name"]: p.get("loudest") for p in listing["products"]
    }
    assert bench.get(answer.json()["products"][1]["url"]).data.startswith(b"\x89PNG")
    assert bench.post_to("/archives/none/preproc").status == 404
    assert not bench.folder.exists()
    bench.store.cleanall()
    empty = next(folder for folder in bench.store.archives() if folder != archive)
    assert bench.get(f"/archives/{quote(empty.name)}/products").json()["verdict"] == "none"
    name = quote(archive.name)
    others = ["none/products", "%2e%2e/products", "data/products", f"{name}/data", name]
    for path in [*others, f"{name}/products/../LogStream.json", f"{name}/products/x.png"]:
        assert bench.get(f"/archives/{path}").status == 404, path


# -- once, and for good ---------------------------------------------------------------------------------------


@needs_preproc
def test_a_redelivered_event_does_the_work_once(bench):
    bench.stream(noise(8192), 1000, 4096)
    bench.freeze()
    before = (bench.folder / "manifest.json").stat()
    answers = [bench.tell(1) for _ in range(2)]
    assert bench.post().status == 201
    after = (bench.folder / "manifest.json").stat()
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    for answer in answers:
        assert (answer.status, answer.headers["Content-Type"]) == (200, "application/cloudevents+json")
        event = answer.json()
        assert (event["type"], event["id"], event["data"]["batch"]) == (SPECTROGRAM, "spectrogram-1-28", 1)
        assert event["data"]["products"] == ["strain-1000-2/spectrogram.hdf5", "strain-1000-2/spectrogram.png"]


@needs_preproc
@pytest.mark.parametrize(
    ("samples", "verdict", "reason"),
    [(noise(900), "too short", "0.5 s"), ([0.0] * 4200, "no signal", "4200 equal samples")],
)
def test_strain_without_a_spectrogram_gets_a_verdict_and_no_retry(samples, verdict, reason, embedded):
    embedded.stream(samples, 1000, 4096)
    manifest = embedded.freeze()
    assert manifest["verdict"] == verdict
    assert manifest["files"] == []
    (made,) = manifest["streams"][0]["spectrograms"]
    assert made["verdict"] == verdict
    assert reason in made["reason"]
    answer = embedded.tell(1)  # the broker is content: neither an event nor an error
    assert (answer.status, answer.data) == (204, b"")


@needs_preproc
def test_one_odd_channel_costs_the_others_no_spectrogram(embedded):
    embedded.stream(noise(4096), 1000, 4096, channel="V1:GOOD")
    embedded.stream(noise(40), 1000, 1 / 64, channel="V1:SLOW")  # the longest interval that is taken
    manifest = embedded.freeze()
    assert manifest["verdict"] == "done"
    made = {stream["channel"]: stream["spectrograms"][0]["verdict"] for stream in manifest["streams"]}
    assert made == {"V1:GOOD": "done", "V1:SLOW": "failed"}
    folders = {file["name"].partition("/")[0] for file in manifest["files"] if "/" in file["name"]}
    assert {name.partition("-")[2].partition("-")[0] for name in folders} == {"GOOD"}


@needs_preproc
def test_an_empty_batch_has_a_verdict_too(embedded):
    assert embedded.freeze()["verdict"] == "empty"


@needs_preproc
def test_a_batch_that_was_opened_and_grew_is_made_anew(embedded):
    embedded.stream(noise(4200), 1000, 4096)
    assert embedded.freeze()["n_itm"] == 14
    embedded.store.request("POST", "/upddsc", json.dumps({"user": "x", "token": "x", "dstatus": "OPERATIONAL"}))
    embedded.stream(noise(4200, 2), 1000 + 4200 / 4096, 4096)
    embedded.store.freeze()
    assert embedded.tell(1).json()["id"] == "spectrogram-1-28"
    wait_for(lambda: embedded.manifest()["n_itm"] == 28)
    assert sorted(path.name for path in embedded.folder.iterdir()) == ["manifest.json", "strain-1000-3"]


@needs_preproc
def test_the_spectrogram_is_announced_once_the_sink_takes_it(new_store):
    with Sink() as sink:
        bench = Bench(new_store("embedded", PREPROC="auto", K_SINK=sink.url))
        bench.stream(noise(4200), 1000, 4096)
        sink.refuse = 4
        trace = f"{7:032x}"
        bench.freeze(headers={"traceparent": f"00-{trace}-{7:016x}-01"})
        wait_for(lambda: {"frozen", "spectrogram"} == {name for name, _ in sink.facts()})
        assert {event["traceparent"].split("-")[1] for event in sink.events} == {trace}
        (fact,) = (about for name, about in sink.facts() if name == "spectrogram")
        assert fact["data"] == str(bench.folder)
        time.sleep(1)
        assert len(sink.events) == 2


# -- what is not to be made -----------------------------------------------------------------------------------


def test_an_open_batch_is_refused_and_a_past_one_ignored(topology, new_store):
    bench = Bench(new_store(topology))
    bench.store.stored(segment())
    answer = bench.post()
    assert (answer.status, answer.json()["code"]) == (409, "OPEN")
    assert bench.tell(1).status == 204  # thawed since, or not frozen after all
    bench.store.cleanall()
    assert bench.tell(1).status == 204  # filed away
    later = bench.tell(3)  # frozen elsewhere, not seen here yet
    assert (later.status, later.json()["code"]) == (503, "RECOVERING")
    assert bench.products() == {"batch": None, "verdict": "none", "products": []}


def test_an_event_that_makes_no_sense_is_final(embedded):
    headers = {"ce-specversion": "1.0", "ce-id": "1", "ce-source": "x", "ce-type": events.FROZEN}
    for data in (b"", b"{}", b'{"batch":"one"}', b"not json"):
        assert http.request("POST", embedded.process.url + "/", body=data, headers=headers).status == 400


def test_only_listed_names_are_served(embedded):
    embedded.folder.mkdir()
    (embedded.folder / "manifest.json").write_text(json.dumps(MANIFEST))
    (embedded.folder / "strain-1000-2").mkdir()
    (embedded.folder / "unlisted.png").write_text("x")
    names = "none %2e%2e/data /etc/passwd x/../../../etc/passwd strain-1000-2 strain-1000-2/gone.png unlisted.png"
    for name in [*names.split(), "manifest.json%00", "%2e%2e/products/manifest.json"]:
        assert embedded.get(f"/products/{name}").status == 404
    assert embedded.get("/products/manifest.json").status == 200


def test_a_product_is_read_in_parts_and_revalidated(embedded):
    content = bytes(range(256)) * 3000
    (embedded.folder / "V1-1-1").mkdir(parents=True)
    (embedded.folder / "V1-1-1" / "x.png").write_bytes(content)
    file = {"name": "V1-1-1/x.png", "size": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    (embedded.folder / "manifest.json").write_text(json.dumps({**MANIFEST, "files": [file]}))
    url = embedded.process.url + "/products/V1-1-1/x.png"
    whole = http.request("GET", url)
    assert (whole.data, whole.headers["Content-Length"]) == (content, str(len(content)))
    assert whole.headers["ETag"] == f'"{file["sha256"]}"'
    rest = http.request("GET", url, headers={"Range": "bytes=700000-", "If-Range": whole.headers["ETag"]})
    assert (rest.status, rest.data) == (206, content[700000:])
    assert http.request("GET", url, headers={"If-None-Match": whole.headers["ETag"]}).status == 304
    head = http.request("HEAD", url)
    assert (head.headers["Content-Length"], head.headers["Content-Type"]) == (str(len(content)), "image/png")


MANIFEST = {
    "batch": 1, "n_itm": 1, "buff_size": 1, "verdict": "done", "time": "", "streams": [], "unusable": [],
    "parameters": {}, "versions": {}, "files": [{"name": "strain-1000-2/gone.png", "size": 1, "sha256": ""}],
}  # fmt: skip


def test_without_gwpy_products_are_served_and_not_made(topology, new_store, tmp_path):
    (tmp_path / "sitecustomize.py").write_text("import sys\nsys.modules['gwpy'] = None\n")
    path = os.pathsep.join((str(tmp_path), str(ROOT)))
    bench = Bench(new_store(topology, PREPROC="auto", PYTHONPATH=path))
    bench.store.stored(segment())
    bench.store.freeze()
    answer = bench.post()
    assert (answer.status, answer.json()["code"]) == (503, "NOPREPROC")
    bench.folder.mkdir()
    (bench.folder / "manifest.json").write_text(json.dumps(MANIFEST))
    assert bench.listing()["verdict"] == "done"


def test_nothing_that_stores_segments_imports_the_science_libraries():
    names = ("gwpy", "numpy", "scipy", "astropy", "matplotlib", "h5py")
    code = "import sys, functions.datastore.main, functions.preproc.main; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", code], cwd=ROOT, capture_output=True, check=True)
    assert not set(names) & set(done.stdout.decode().split())


# -- crashes, and a cleanall in between -----------------------------------------------------------------------


@needs_preproc
@pytest.mark.parametrize("name", ["preproc.half", "preproc.written", "preproc.placed"])
def test_a_crash_leaves_no_half_product_and_the_next_start_makes_it(name, new_store):
    with Sink() as sink:
        store = new_store("embedded", ready=False, PREPROC="auto", K_SINK=sink.url)
        store.writer.stop()
        store.writer.start("/health/readiness", FAILPOINTS=f"{name}=kill")
        bench = Bench(store)
        bench.stream(noise(4200), 1000, 4096)
        store.freeze()
        wait_for(lambda: "preproc ended with -9" in store.writer.text())
        whole = name == "preproc.placed"
        if not whole:
            wait_for(lambda: bench.listing()["verdict"] == "failed")
            assert store.writer.text().count("preproc ended with -9") == 3  # no more attempts than that
            assert "ended with -9" in bench.state()["reason"]
            assert [path.name for path in bench.folder.iterdir()] == ["manifest.json"]
        store.writer.kill()
        store.writer.start("/health/readiness")
        wait_for(lambda: bench.listing()["verdict"] == "done")
        wait_for(lambda: "spectrogram" in {fact for fact, _ in sink.facts()})
        assert sorted(path.name for path in bench.folder.iterdir()) == ["manifest.json", "strain-1000-2"]
        assert not (store.root / "datavar" / ".products.next").exists()


@needs_preproc
def test_a_cleanall_while_preproc_works_leaves_its_products_nowhere(topology, new_store):
    bench = Bench(new_store(topology, PREPROC="auto", FAILPOINTS="preproc.written=stop"))
    store = bench.store
    bench.stream(noise(4200), 1000, 4096)
    store.freeze()
    if topology == "split":
        answers = []
        asking = Thread(target=lambda: answers.append(bench.tell(1)))
        asking.start()
    wait_for(lambda: stopped_child(bench.process))
    assert store.cleanall().status == 201
    store.stored(segment(7))
    os.kill(stopped_child(bench.process), signal.SIGCONT)
    wait_for(lambda: not (store.root / "datavar" / ".products.next").exists())
    if topology == "split":
        asking.join()
        assert (answers[0].status, answers[0].data) == (204, b"")
    assert not bench.folder.exists()
    assert bench.listing()["verdict"] == "none"
    (archive,) = store.archives()
    assert len(check_archive(archive)) == 14
    assert not (archive / "products").exists()
    assert store.check_exact()["n_itm"] == 1


def stopped_child(process) -> int:
    """The process that a server has started and that has stopped at a failpoint, or 0."""
    pid = process.process.pid
    children = {int(c) for task in Path(f"/proc/{pid}/task").iterdir() for c in (task / "children").read_text().split()}
    return next((c for c in children if Path(f"/proc/{c}/stat").read_text().rpartition(")")[2].split()[0] == "T"), 0)


@pytest.mark.parametrize("name", ["clean.planned", "clean.moved", "clean.products", "clean.swap"])
def test_i8_products_move_into_the_archive_whatever_dies(name, new_store):
    store = new_store("embedded", ready=False)
    store.writer.stop()
    store.writer.start("/health/readiness", FAILPOINTS=f"{name}=kill")
    bench = Bench(store)
    store.stored(segment())
    store.freeze()
    bench.folder.mkdir()
    (bench.folder / "manifest.json").write_text(json.dumps(MANIFEST))
    with pytest.raises(Exception, match=r"closed|aborted|reset"):
        store.cleanall()
    assert store.writer.wait_dead() == -9
    store.writer.start("/health/readiness")
    (archive,) = store.archives()
    assert len(check_archive(archive)) == 1
    assert json.loads((archive / "products" / "manifest.json").read_text()) == MANIFEST
    assert not bench.folder.exists()
    store.stored(segment(5))
    store.cleanall()
    assert not (store.archives()[1] / "products").exists()


@needs_preproc
def test_the_store_ends_its_preproc_when_it_is_stopped(new_store):
    store = new_store("embedded", PREPROC="auto", FAILPOINTS="preproc.half=stop")
    bench = Bench(store)
    bench.stream(noise(4200), 1000, 4096)
    store.freeze()
    wait_for(lambda: stopped_child(store.writer))
    child = stopped_child(store.writer)
    store.writer.stop()
    assert store.writer.process.returncode in (0, -signal.SIGTERM)
    wait_for(lambda: not Path(f"/proc/{child}").exists())
    assert not bench.folder.exists()


@needs_preproc
def test_a_process_is_ready_when_a_freeze_is_in_sight_and_makes_the_products(new_store):
    bench = Bench(
        new_store("embedded", PREPROC="auto", PREPROC_WARM="true", MAX_SIZE="50000", FAILPOINTS="preproc.half=stop")
    )

    def ready():
        """The processes that wait for an order."""
        found = []
        for pid in bench.process.children():
            with contextlib.suppress(FileNotFoundError):
                if Path(f"/proc/{pid}/cmdline").read_bytes().endswith(b"--wait\0"):
                    found.append(pid)
        return found

    bench.stream(noise(4200), 1001, 4096)
    wait_for(ready)
    (job,) = ready()
    bench.store.freeze()
    wait_for(lambda: stopped_child(bench.process))
    assert stopped_child(bench.process) == job
    os.kill(job, signal.SIGCONT)
    wait_for(lambda: bench.listing()["verdict"] == "done")
    wait_for(lambda: not ready())
    bench.store.cleanall()
    bench.stream(noise(4200), 1001, 4096)
    wait_for(ready)
    bench.store.cleanall()  # its standard input ends, as it does with the store
    wait_for(lambda: not ready())


@needs_preproc
def test_leftovers_of_a_crash_are_cleared(made):
    assert not (made.store.root / "datavar" / ".products.next").exists()
    (plain,) = (stream for stream in streams_at(made.manifest(), 4096.0) if not stream["channel"])
    assert math.isclose(plain["spans"][0][1], 1000 + 8192 / 4096)
    away = made.folder.with_name("away")
    made.folder.rename(away)
    try:
        assert made.listing()["verdict"] == "none"
    finally:
        away.rename(made.folder)
