"""Training sets: cut from a frozen batch or an archive, whole or not at all, read as the twin reads them."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import signal
import tarfile
from pathlib import Path

import pytest

from shared import events
from shared.trace_context import parse, within
from tests.support.checks import wait_for
from tests.support.event_sink import Sink
from tests.support.extras import STRAIN, needs_preproc
from tests.support.load import post_all
from tests.support.servers import Process, http

pytestmark = needs_preproc

T0, RATE, MERGER = 1126259446, 4096, 1126259462.42
TARGET = "H1:GDS-CALIB_STRAIN"
TIMES = [104.0, 108.0, 130.0]  # the last one beyond the stored strain


class Maker:
    """A store and its function `datasets`, which embedded is a part of it."""

    def __init__(self, store, **env):
        self.store = store
        self.process = store.writer
        if store.topology == "split":
            self.process = store.processes["datasets"] = Process("datasets", {**store.env, **env}, forked=True)
            self.process.start("/health/readiness")

    def request(self, method, path, body=None, **headers):
        content = None if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
        names = {name.replace("_", "-"): value for name, value in headers.items()}
        return http.request(method, self.process.url + path, body=content, headers=names)

    def post(self, **about):
        return self.request("POST", "/datasets", {"name": "train", "events": TIMES, "window": [-2, 2], **about})

    def state(self, name="train"):
        return self.request("GET", f"/datasets/{name}").json().get("state", "none")

    def finish(self, name="train"):
        wait_for(lambda: self.state(name) in ("done", "failed"), 60)
        return self.request("GET", f"/datasets/{name}").json()

    def make(self, **about):
        answer = self.post(**about)
        assert answer.status == 202, answer.data
        assert answer.headers["Location"] == answer.json()["url"]
        return self.finish(answer.json()["name"])

    def stopped(self):
        """The jobs that have stopped at a failpoint."""
        found = []
        for pid in self.process.children():
            with contextlib.suppress(FileNotFoundError):
                command = Path(f"/proc/{pid}/cmdline").read_bytes()
                if b"shared.datasets.job" in command and "State:\tT" in Path(f"/proc/{pid}/status").read_text():
                    found.append(pid)
        return found

    def file(self, name, file):
        answer = self.request("GET", f"/datasets/{name}/{file}")
        assert answer.status == 200, answer.data
        return answer.data

    @property
    def folder(self) -> Path:
        return self.store.root / "datavar" / "datasets"


def send(store, samples, t0, rate, seconds=1, **about):
    size = seconds * rate
    bodies = [
        ("", json.dumps({"h": samples[i : i + size], "t": [t0 + i / rate, 1 / rate], **about}).encode())
        for i in range(0, len(samples), size)
    ]
    assert {sent.status for sent in post_all(store.url("/sendF"), bodies, 8)} == {201}


def ramp(n, of=1):
    return [of * 1e-21 * (i % 997 - 498) for i in range(n)]


def small_batch(store):
    """20 s of three channels from GPS 100, one of them at another rate and with a gap from 110 to 111."""
    send(store, ramp(20 * 256), 100.0, 256, channel="V1:A")
    send(store, ramp(20 * 256, 2), 100.0, 256, channel="V1:B")
    send(store, ramp(10 * 64, 3), 100.0, 64, channel="V1:C")
    send(store, ramp(9 * 64, 4), 111.0, 64, channel="V1:C")


@pytest.fixture
def maker(topology, new_store):
    maker = Maker(new_store(topology))
    small_batch(maker.store)
    return maker


@pytest.fixture
def embedded(new_store):
    maker = Maker(new_store("embedded"))
    small_batch(maker.store)
    return maker


def open_hdf5(content: bytes):
    import h5py

    return h5py.File(io.BytesIO(content), "r")


def read_event(content: bytes):
    """What the twin's description says of an event's file: one group, a dataset a channel, `t0` and `sample_rate`."""
    with open_hdf5(content) as file:
        (event,) = file
        channels = {}
        for name, data in file[event].items():
            channels[name] = data[()], float(data.attrs["t0"]), float(data.attrs["sample_rate"])
        return event, channels


# -- the story ------------------------------------------------------------------------------------------------------


def auxiliary(strain):
    """Ten made-up channels: delayed and filtered copies with noise of their own, half of them at a quarter the rate."""
    import numpy

    source = numpy.random.default_rng(1)
    found = {}
    for number in range(10):
        copy = numpy.roll(strain, 16 * number)
        copy = numpy.convolve(copy, numpy.ones(number + 1) / (number + 1), "same")
        copy += source.normal(scale=1e-20, size=len(copy))
        every = 1 if number % 2 else 4
        found[f"H1:AUX-{number}"] = copy[::every], RATE // every
    return found


@pytest.mark.skipif(not STRAIN.is_dir(), reason=f"no real strain in {STRAIN}")
def test_from_a_stream_to_what_the_twin_trains_on(new_store, tmp_path):
    import h5py
    import numpy

    maker = Maker(new_store("embedded"))
    sent = {}
    for detector in ("H", "L"):
        (path,) = STRAIN.glob(f"{detector}-{detector}1_LOSC_4_V2-*.hdf5")
        with h5py.File(path) as file:
            sent[f"{detector}1:GDS-CALIB_STRAIN"] = file["strain/Strain"][()], RATE
    sent |= auxiliary(sent[TARGET][0])
    for channel, (samples, rate) in sent.items():
        send(maker.store, samples.tolist(), T0, rate, seconds=5, channel=channel)
    assert maker.store.freeze().status == 201

    rule = {"peaks": {"channel": TARGET, "threshold": 30, "min_separation": 8}}
    about = {"events": rule, "window": [-4, 4], "target": TARGET}
    manifest = maker.make(**about)
    assert manifest["state"] == "done", json.dumps(manifest)[:2000]
    loudest = max(manifest["events"], key=lambda event: event["energy"])
    assert abs(loudest["gps"] - MERGER) < 0.05
    assert 20 < loudest["frequency"] < 300
    assert [channel["name"] for channel in manifest["channels"]] == [TARGET, *sorted(set(sent) - {TARGET})]

    event, channels = read_event(maker.file("train", loudest["file"]))
    assert event == loudest["name"]
    assert set(channels) == set(sent)
    for name, (samples, t0, rate) in channels.items():
        whole, sent_rate = sent[name]
        first = round((t0 - T0) * rate)
        assert rate == sent_rate
        assert len(samples) == 8 * rate
        assert 0 <= t0 - (loudest["gps"] - 4) < 1 / rate
        assert numpy.array_equal(samples, whole[first : first + len(samples)])

    # The pictures that the twin makes of it, of an event in a trigger table.
    table = {"content": f"time,snr\n{MERGER},24\n"}
    manifest = maker.make(name="pictures", events={"table": table}, channels=["?1:*STRAIN"], layout="spectrograms")
    assert [event["gps"] for event in manifest["events"]] == [MERGER]
    with open_hdf5(maker.file("pictures", "spectrograms.hdf5")) as file:
        energy = file["energy"][()]
        assert energy.shape == (1, 2, 64, 257)
        for channel in energy[0]:
            row, column = numpy.unravel_index(channel.argmax(), channel.shape)
            assert 20 < file["frequencies"][row] < 300
            assert abs(file["times"][column]) < 0.1


# -- requests -------------------------------------------------------------------------------------------------------


def test_a_request_is_accepted_made_read_and_deleted(maker):
    about = {"channels": ["V1:[AB]"], "target": "V1:B"}
    assert (answer := maker.post(**about)).status == 409
    assert answer.json()["code"] == "OPEN"
    assert maker.store.freeze().status == 201

    manifest = maker.make(**about)
    assert [event["gps"] for event in manifest["events"]] == TIMES[:2]
    (left_out,) = manifest["left_out"]
    assert left_out == {
        "name": "130.0", "gps": 130.0, "reason": "incomplete",
        "missing": {"V1:B": [[128.0, 132.0]], "V1:A": [[128.0, 132.0]]},
    }  # fmt: skip
    assert [channel["name"] for channel in manifest["channels"]] == ["V1:B", "V1:A"]
    assert (manifest["batch"], manifest["n_itm"]) == (1, maker.store.stat()["n_itm"])

    files = {entry["name"]: maker.file("train", entry["name"]) for entry in manifest["files"]}
    for entry in manifest["files"]:
        content = files[entry["name"]]
        assert (len(content), hashlib.sha256(content).hexdigest()) == (entry["size"], entry["sha256"])
    event, channels = read_event(files["events/104.0.hdf5"])
    assert event == "104.0"
    assert channels["V1:A"][0].tolist() == ramp(20 * 256)[2 * 256 : 6 * 256]
    assert channels["V1:B"][1:] == (102.0, 256.0)

    again = maker.post(**about)
    assert again.status == 200
    assert again.json() == manifest
    assert maker.post(channels=["V1:A"]).json()["code"] == "TAKEN"
    (row,) = maker.request("GET", "/datasets").json()["datasets"]
    assert (row["name"], row["state"], row["events"], row["left_out"]) == ("train", "done", 2, 1)

    assert maker.request("DELETE", "/datasets/train").status == 204
    assert maker.request("DELETE", "/datasets/train").status == 404
    assert maker.request("GET", "/datasets/train").status == 404
    assert maker.request("GET", "/datasets").json() == {"datasets": []}
    assert list(maker.folder.iterdir()) == []


def test_a_set_moves_with_its_batch_and_one_can_be_made_of_an_archive(maker):
    assert maker.store.freeze().status == 201
    manifest = maker.make(channels=["V1:A"])
    files = {entry["name"]: maker.file("train", entry["name"]) for entry in manifest["files"]}
    assert maker.store.cleanall().status == 201
    assert not maker.folder.exists()
    assert maker.request("GET", "/datasets/train").json() == manifest
    (archive,) = maker.store.archives()
    later = maker.make(name="later", batch=archive.name, channels=["V1:A"])
    assert {entry["name"]: maker.file("later", entry["name"]) for entry in later["files"]} == files
    assert sorted(path.name for path in (archive / "datasets").iterdir()) == ["later", "train"]
    assert (
        maker.post(name="later", batch="1", channels=["V1:A"]).json()["code"] == "TAKEN"
    )  # by a name, not by a number
    assert maker.request("DELETE", "/datasets/later").status == 204
    assert [path.name for path in (archive / "datasets").iterdir()] == ["train"]


def test_files_and_the_tar_are_read_in_parts(embedded):
    assert embedded.store.freeze().status == 201
    manifest = embedded.make(channels=["V1:A", "V1:B"])
    whole = embedded.request("GET", "/datasets/train.tar")
    assert whole.status == 200
    assert int(whole.headers["Content-Length"]) == len(whole.data)
    with tarfile.open(fileobj=io.BytesIO(whole.data)) as tar:
        assert tar.getnames() == ["train/manifest.json", *(f"train/{entry['name']}" for entry in manifest["files"])]
        for entry in manifest["files"]:
            member = tar.extractfile(f"train/{entry['name']}")
            assert member
            assert hashlib.sha256(member.read()).hexdigest() == entry["sha256"]
    for path, content in [("/datasets/train.tar", whole.data),
                          (f"/datasets/train/{manifest['files'][0]['name']}",
                           embedded.file("train", manifest["files"][0]["name"])),
                          ("/datasets/train", embedded.file("train", "manifest.json"))]:  # fmt: skip
        etag = embedded.request("HEAD", path).headers["ETag"]
        for first, last in [(0, 0), (511, 513), (1000, 5000), (len(content) - 3, len(content) - 1)]:
            part = embedded.request("GET", path, Range=f"bytes={first}-{last}", If_Range=etag)
            assert (part.status, part.data) == (206, content[first : last + 1])
        assert embedded.request("GET", path, If_None_Match=etag).status == 304
        assert embedded.request("GET", path, Range=f"bytes={len(content)}-").status == 416
    for path in ("train/manifest.json.next", "train/events", "train.tar/x", "no.tar", "%00", "a%00/b"):
        assert embedded.request("GET", f"/datasets/{path}").status == 404


@pytest.mark.parametrize(("about", "status", "code", "says"), [
    ({"name": "../x"}, 400, "ERRFMT", "`name`"),
    ({"name": "x.tar"}, 400, "ERRFMT", "`name`"),
    ({"events": []}, 400, "ERRFMT", "`events`"),
    ({"window": "wide"}, 400, "ERRFMT", "$.window"),
    ({"channels": ["V1:Z*"]}, 404, "NODATA", "V1:Z*"),
    ({"target": "V1:Z"}, 404, "NODATA", "target"),
    ({"layout": "stack"}, 409, "AMBIGUOUS", "rate"),
    ({"layout": "spectrograms"}, 400, "ERRFMT", "`transform.frange`"),
    ({"events": {"peaks": {"channel": "V1:A"}}}, 400, "ERRFMT", "`events.peaks.frange`"),
    ({"events": {"peaks": {"channel": "V1:Z"}}}, 404, "NODATA", "V1:Z"),
    ({"batch": "7"}, 404, "ERRFILE", "'7'"),
])  # fmt: skip
def test_a_request_that_cannot_be_met_is_refused_at_once(refusing, about, status, code, says):
    answer = refusing.post(**about)
    assert (answer.status, answer.json()["code"]) == (status, code), answer.data
    assert says in answer.json()["body"]
    assert refusing.request("GET", "/datasets").json() == {"datasets": []}


@pytest.fixture(scope="session")
def refusing(tmp_path_factory):
    from tests.support.servers import Store

    with Store("embedded", tmp_path_factory.mktemp("refusing")) as store:
        maker = Maker(store)
        small_batch(store)
        assert store.freeze().status == 201
        yield maker


# -- events and layouts ---------------------------------------------------------------------------------------------


def test_events_come_from_rules_and_incomplete_ones_are_never_silent(embedded):
    import numpy

    assert embedded.store.freeze().status == 201
    every = {"events": {"every": 4}, "window": [-2, 2]}
    dropped = embedded.make(name="dropped", **every)
    assert [event["gps"] for event in dropped["events"]] == [104.0, 108.0, 116.0]
    assert [event["name"] for event in dropped["left_out"]] == ["112.0"]
    assert dropped["left_out"][0]["missing"] == {"V1:C": [[110.0, 111.0]]}

    without = embedded.make(name="without", incomplete="drop-channel", **every)
    assert {event["name"]: event.get("without") for event in without["events"]}["112.0"] == {"V1:C": [[110.0, 111.0]]}
    assert set(read_event(embedded.file("without", "events/112.0.hdf5"))[1]) == {"V1:A", "V1:B"}

    embedded.make(name="filled", incomplete="nan", layout="stack", channels=["V1:C"], dtype="float32", **every)
    with open_hdf5(embedded.file("filled", "stack.hdf5")) as file:
        strain = file["strain"]
        assert (strain.shape, strain.dtype) == ((4, 1, 256), numpy.float32)
        assert numpy.isnan(strain[2, 0]).sum() == 64
        assert not numpy.isnan(strain[[0, 1, 3]]).any()
        assert file["gps"][()].tolist() == [104.0, 108.0, 112.0, 116.0]
        assert file["channels"].asstr()[()].tolist() == ["V1:C"]
        assert file["sample_rate"][()] == 64

    assert embedded.post(name="strict", incomplete="error", **every).status == 202
    failed = embedded.finish("strict")
    assert (failed["state"], failed["error"]["code"]) == ("failed", "GAP")
    assert "112.0" in failed["error"]["body"]


def test_a_target_that_does_not_change_is_no_strain(new_store):
    maker = Maker(new_store("embedded"))
    send(maker.store, [*ramp(512), *[0.0] * 512, *ramp(512)], 100.0, 256, channel="V1:A")
    assert maker.store.freeze().status == 201
    manifest = maker.make(events=[101, 102.5, 105], window=[-1, 1], target="V1:A")
    assert [event["name"] for event in manifest["events"]] == ["101.0", "105.0"]
    assert manifest["left_out"][0]["missing"] == {"V1:A": [[102.0, 103.5]]}


# -- what is promised -----------------------------------------------------------------------------------------------


def test_the_same_request_gives_the_same_bytes(embedded):
    assert embedded.store.freeze().status == 201

    def made():
        content = {}
        for name, about in [("train", {}), ("array", {"layout": "stack", "channels": ["V1:A"]})]:
            embedded.make(name=name, **about)
            content[name] = embedded.request("GET", f"/datasets/{name}.tar").data
            assert embedded.request("DELETE", f"/datasets/{name}").status == 204
        return content

    first = made()
    assert made() == first


@pytest.mark.parametrize("place", ["half", "written", "placed"])
def test_a_job_that_dies_leaves_nothing_half_visible_and_is_done_anew(place, new_store, tmp_path):
    maker = Maker(new_store("embedded", FAILPOINTS=f"dataset.{place}=stop@{2 if place == 'half' else 1}"))
    small_batch(maker.store)
    assert maker.store.freeze().status == 201
    assert maker.post(channels=["V1:A"]).status == 202

    wait_for(maker.stopped)
    visible = maker.folder / "train" / "manifest.json"
    assert visible.exists() == (place == "placed")
    assert maker.state() != "done"
    (pid,) = maker.stopped()
    maker.process.kill()  # the store and its job, at the same moment
    os.kill(pid, signal.SIGKILL)
    assert visible.exists() == (place == "placed")
    maker.process.start("/health/readiness", FAILPOINTS="")
    manifest = maker.finish()
    assert [event["name"] for event in manifest["events"]] == ["104.0", "108.0"]
    assert sorted(path.name for path in maker.folder.iterdir()) == ["train"]
    work = maker.store.root / "datavar" / ".datasets"
    wait_for(lambda: not list((work / "orders").iterdir()))
    assert not [path.name for path in work.iterdir() if path.is_dir() and path.name != "orders"]


@pytest.mark.parametrize("place", ["half", "written"])
def test_a_batch_that_is_archived_meanwhile_gets_its_set_in_the_archive(place, new_store):
    maker = Maker(new_store("embedded", FAILPOINTS=f"dataset.{place}=stop"))
    small_batch(maker.store)
    assert maker.store.freeze().status == 201
    assert maker.post(channels=["V1:A"]).status == 202
    wait_for(maker.stopped)
    (first,) = maker.stopped()
    assert maker.store.cleanall().status == 201
    small_batch(maker.store)
    os.kill(first, signal.SIGCONT)
    wait_for(lambda: maker.stopped() not in ([], [first]))  # it stops there again, in the archive
    os.kill(maker.stopped()[0], signal.SIGCONT)
    manifest = maker.finish()
    assert manifest["batch"] == 1
    assert not maker.folder.exists()
    (archive,) = maker.store.archives()
    assert (archive / "datasets" / "train" / "manifest.json").exists()


def test_a_batch_that_was_opened_again_and_grew_gets_its_set_anew(embedded):
    assert embedded.store.freeze().status == 201
    about = {"events": [104.0, 130.0], "channels": ["V1:A"]}
    before = embedded.make(**about)
    assert [event["name"] for event in before["left_out"]] == ["130.0"]
    thaw = json.dumps({"user": "operator", "token": "secret", "dstatus": "OPERATIONAL"})
    assert embedded.store.request("POST", "/upddsc", thaw).status == 201
    assert embedded.post(**about).json()["code"] == "OPEN"
    assert embedded.request("GET", "/datasets/train").json() == before
    send(embedded.store, ramp(10 * 256), 125.0, 256, channel="V1:A")
    assert embedded.store.freeze().status == 201
    after = embedded.make(**about)
    assert [event["name"] for event in after["events"]] == ["104.0", "130.0"]
    assert after["n_itm"] == before["n_itm"] + 10
    first = next(entry for entry in before["files"] if "104.0" in entry["name"])
    assert first in after["files"]  # what was stored never changes


def test_a_request_can_be_taken_back(new_store):
    maker = Maker(new_store("embedded", FAILPOINTS="dataset.half=stop"))
    small_batch(maker.store)
    assert maker.store.freeze().status == 201
    assert maker.post(channels=["V1:A"]).status == 202
    wait_for(maker.stopped)
    assert maker.state() == "working"
    assert maker.request("DELETE", "/datasets/train").status == 204
    wait_for(lambda: not maker.stopped())
    assert maker.request("GET", "/datasets/train").status == 404
    assert not maker.folder.exists()


# -- by itself ------------------------------------------------------------------------------------------------------


def test_a_set_is_made_of_every_frozen_batch(topology, new_store, tmp_path):
    wanted = tmp_path / "dataset.json"
    wanted.write_text(json.dumps({"name": "auto", "events": {"every": 4}, "window": [-2, 2], "channels": ["V1:[AB]"]}))
    with Sink() as sink:
        maker = Maker(new_store(topology, DATASET=str(wanted), K_SINK=sink.url))
        small_batch(maker.store)
        cause = parse(f"00-{7:032x}-{7:016x}-01", "a=b")
        assert cause is not None
        assert maker.store.freeze(headers=cause.members).status == 201
        if topology == "split":
            with within(cause):
                headers, body = events.encode(events.FROZEN, "/datastore", "1-9", {"batch": 1, "n_itm": 9})
            answer = http.request("POST", maker.process.url + "/", body=body, headers=headers)
            reply = json.loads(answer.data)
            assert (reply["type"], reply["traceparent"].split("-")[1]) == (events.DATASET, cause.trace_id)
        wait_for(lambda: maker.state("auto-1") == "done", 60)
        wait_for(lambda: events.DATASET in [event["type"] for event in sink.events])
        (fact,) = [event for event in sink.events if event["type"] == events.DATASET]
        assert (fact["data"]["name"], fact["data"]["events"], fact["data"]["left_out"]) == ("auto-1", 4, 0)
        assert (fact["traceparent"].split("-")[1], fact["tracestate"]) == (cause.trace_id, "a=b")


# -- the client -----------------------------------------------------------------------------------------------------


def gwclient(*arguments):
    from gwclient.cli import main

    return main([str(argument) for argument in arguments])


def test_the_client_has_a_set_made_and_downloads_it_across_interruptions(embedded, tmp_path, capsys, monkeypatch):
    assert embedded.store.freeze().status == 201
    url = f"{embedded.process.url}/datasets"
    request, table = tmp_path / "request.json", tmp_path / "triggers.csv"
    about = {"name": "train", "window": [-2, 2], "channels": ["V1:[AB]"], "layout": "stack", "events": TIMES}
    request.write_text(json.dumps(about))
    assert gwclient("dataset", "make", request, "--url", url, "-o", "json") == 0
    assert json.loads(capsys.readouterr().out) == {"name": "train", "state": "done", "events": 2, "left_out": 1}
    assert gwclient("dataset", "list", "--url", url, "-o", "name") == 0
    assert capsys.readouterr().out == "train\n"

    monkeypatch.setattr("gwclient.datasets.CHUNK", 10_000)
    whole = embedded.file("train", "stack.hdf5")
    sha256 = hashlib.sha256(whole).hexdigest()
    part = tmp_path / "sets" / "train" / f".stack.hdf5.{sha256[:16]}.part"
    part.parent.mkdir(parents=True)
    part.write_bytes(b"\0" + whole[1:12_345])
    get = ("dataset", "get", "train", "--url", url, "--to", tmp_path / "sets")
    assert gwclient(*get) == 4
    assert "checksum" in capsys.readouterr().err
    assert not (part.parent / "stack.hdf5").exists()
    part.write_bytes(whole[:12_345])
    assert gwclient(*get) == 0
    assert (part.parent / "stack.hdf5").read_bytes() == whole
    assert sorted(path.name for path in part.parent.iterdir()) == ["manifest.json", "stack.hdf5"]
    before = (part.parent / "stack.hdf5").stat()
    assert gwclient(*get) == 0
    assert (part.parent / "stack.hdf5").stat().st_mtime_ns == before.st_mtime_ns

    table.write_text("a,b\n1,2\n")
    request.write_text(json.dumps({**about, "name": "other"}))
    assert gwclient("dataset", "make", request, "--table", table, "--table-format", "xml", "--url", url) == 5
    assert "`events.table.format`" in capsys.readouterr().err
    assert gwclient("dataset", "get", "none", "--url", url) == 5


def batches(data, size):
    """What torch's DataLoader does with a map-style dataset: indices in any order, items stacked by key."""
    import numpy

    order = list(range(len(data)))[::-1]
    for first in range(0, len(order), size):
        items = [data[index] for index in order[first : first + size]]
        yield {key: numpy.stack([item[key] for item in items]) for key in items[0]}


def test_a_set_is_read_in_batches_from_a_folder_and_from_a_url(embedded, tmp_path):
    import pickle

    import numpy

    from gwclient.training import Dataset

    assert embedded.store.freeze().status == 201
    rows = numpy.array([ramp(20 * 256)[2 * 256 : 6 * 256], ramp(20 * 256)[6 * 256 : 10 * 256]])
    embedded.make(channels=["V1:[AB]"], target="V1:B")
    embedded.make(name="array", channels=["V1:[AB]"], target="V1:B", layout="stack")
    assert gwclient("dataset", "get", "train", "--url", embedded.process.url, "--to", tmp_path) == 0
    url = f"{embedded.process.url}/datasets/array"
    for source in (tmp_path / "train", url):
        data = pickle.loads(pickle.dumps(Dataset(source, cache=tmp_path / "cache")))
        assert (len(data), data.gps, data.channels) == (2, TIMES[:2], ["V1:B", "V1:A"])
        assert data.sample_rates == {"V1:B": 256, "V1:A": 256}
        (batch,) = batches(data, 2)
        assert batch["gps"].tolist() == TIMES[1::-1]
        of_a = batch["strain"][:, 1] if "strain" in batch else batch["V1:A"]
        assert numpy.array_equal(of_a, rows[::-1])
        assert data[-1]["gps"] == TIMES[1]
        with pytest.raises(IndexError):
            data[2]
    cached = [path.name for path in (tmp_path / "cache").rglob("*") if path.is_file()]
    assert cached == ["stack.hdf5"]
