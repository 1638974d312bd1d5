"""Archives that live elsewhere, over HTTP: copied, freed, read, verified and brought back by running functions."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import tarfile
from pathlib import Path
from urllib.parse import quote

import pytest

from tests.support import ROOT
from tests.support.archives import check_copy, segments
from tests.support.builders import segment
from tests.support.checks import check_archive, wait_for
from tests.support.extras import needs_preproc
from tests.support.servers import Process, http

STRETCH = "?channel=V1:X&start=100&end=103&format=json"


class Archiving:
    """A store and its function `archiver`, which embedded is a part of it."""

    def __init__(self, store) -> None:
        self.store = store
        self.process = store.writer
        if store.topology == "split":
            self.process = store.processes["archiver"] = Process("archiver", store.env, forked=True)
            self.process.start("/health/readiness")

    def get(self, path: str = "", **headers: str):
        return http.request("GET", f"{self.process.url}/remote{path}", headers=headers)

    def rows(self) -> dict[str, dict]:
        return {row["name"]: row for row in self.get().json()["archives"]}

    def states(self) -> list[str]:
        return [row["state"] for row in self.rows().values()]

    def order(self, name: str, what: str):
        return http.request("POST", f"{self.process.url}/remote/{quote(name)}/{what}")

    def done(self, name: str) -> bool:
        found = self.get(f"/{quote(name)}").json()
        assert "error" not in found.get("wanted", {}), found
        return "wanted" not in found

    def metric(self, name: str) -> float:
        lines = http.request("GET", f"{self.process.url}/metrics").data.decode().splitlines()
        return next(float(line.split()[1]) for line in lines if line.startswith(f"{name} "))


@pytest.fixture
def archiving(topology, new_store, tmp_path):
    env = {"ARCHIVE_URL": f"file://{tmp_path}/remote", "ARCHIVE_PIECE": "20000", "HOUSEKEEPING": "0.3"}
    return Archiving(new_store(topology, **env))


def fill(store, t0: float, count: int = 12) -> dict[str, bytes]:
    """Store segments of 25 samples at 100 Hz; return what is served."""
    bodies = [segment(25, t0=t0 + number / 4, dt=0.01, channel="V1:X") for number in range(count)]
    return {store.stored(body): body for body in bodies}


def test_the_story_of_an_archive(archiving, tmp_path):
    store = archiving.store
    sent = fill(store, 100.0)
    store.freeze()
    store.cleanall()
    (folder,) = store.archives()
    wait_for(lambda: archiving.states() == ["safe"])
    (remote,) = (tmp_path / "remote").iterdir()
    manifest = check_copy(remote)
    assert manifest["name"] == folder.name
    assert segments(folder) == sent  # nothing was asked to go
    answer = store.request("GET", "/strain", query=STRETCH)
    assert answer.status == 200, answer.data
    samples = answer.json()
    row = archiving.rows()[folder.name]
    assert (row["here"], row["missing"], row["bytes"]) == (True, 0, sum(map(len, sent.values())))
    wait_for(lambda: archiving.metric("datastore_archives_waiting") == 0)

    # An operator wants it gone at once.
    archiving.process.stop()
    archiving.process.start("/health/readiness", ARCHIVE_KEEP="0")
    wait_for(lambda: archiving.states() == ["elsewhere"])
    assert segments(folder) == {}
    wait_for(lambda: archiving.metric("datastore_archives_elsewhere") == 1)
    for name, body in sent.items():
        assert store.request("GET", "/segment", query=f"?name={name}&batch=all").data == body
    assert store.request("GET", "/strain", query=STRETCH).json() == samples
    (listed,) = store.request("GET", "/archives").json()["archives"]
    assert (listed["n_itm"], listed["elsewhere"], listed["copied"] != "") == (len(sent), True, True)
    assert archiving.get(f"/{quote(folder.name)}").json()["state"] == "elsewhere"

    # Its copy is read back, and its objects are served in parts.
    assert archiving.order(folder.name, "verify").status == 202
    wait_for(lambda: archiving.done(folder.name))
    piece = remote / "segments-00000.tar"
    answer = archiving.get(f"/{quote(folder.name)}/segments-00000.tar", Range="bytes=512-611")
    assert (answer.status, answer.data) == (206, piece.read_bytes()[512:612])
    assert archiving.get(f"/{quote(folder.name)}/../x").status == 404
    assert archiving.get("/nobody").status == 404
    assert archiving.order("nobody", "verify").status == 404
    assert archiving.order(folder.name, "delete").status == 404

    # It comes back, and stays for as long as ARCHIVE_KEEP says.
    archiving.process.stop()
    archiving.process.start("/health/readiness")
    assert archiving.order(folder.name, "restore").status == 202
    wait_for(lambda: archiving.done(folder.name))
    assert segments(folder) == sent
    assert archiving.states() == ["safe"]


@needs_preproc
def test_a_training_set_of_an_archive_that_lies_elsewhere(new_store, tmp_path):
    env = {"ARCHIVE_URL": f"file://{tmp_path}/remote", "ARCHIVE_KEEP": "0", "HOUSEKEEPING": "0.3"}
    archiving = Archiving(new_store("embedded", **env))
    store = archiving.store
    fill(store, 100.0, 40)  # 10 s
    store.cleanall()
    (folder,) = store.archives()
    wait_for(lambda: archiving.states() == ["elsewhere"])
    wanted = {"name": "train", "events": [104.0], "window": [-2, 2], "batch": folder.name}
    assert http.request("POST", archiving.process.url + "/datasets", body=json.dumps(wanted)).status == 202

    def made() -> dict:
        return http.request("GET", archiving.process.url + "/datasets/train").json()

    wait_for(lambda: made().get("state") == "done", 60)
    assert made()["channels"][0]["name"] == "V1:X"
    (file,) = made()["files"]
    content = http.request("GET", f"{archiving.process.url}/datasets/train/{file['name']}").data
    assert hashlib.sha256(content).hexdigest() == file["sha256"]
    (remote,) = (tmp_path / "remote").iterdir()
    wait_for(lambda: (remote / "manifest-00001.json").exists())  # the set is copied too
    wait_for(lambda: archiving.states() == ["elsewhere"])
    with tarfile.open(remote / "beside-00001.tar") as packed:
        assert f"datasets/train/{file['name']}" in packed.getnames()


def test_gwclient(new_store, tmp_path):
    env = {"ARCHIVE_URL": f"file://{tmp_path}/remote", "ARCHIVE_PIECE": "20000", "HOUSEKEEPING": "0.3"}
    archiving = Archiving(new_store("embedded", **env))
    store = archiving.store
    sent = fill(store, 100.0)
    store.cleanall()
    (folder,) = store.archives()
    wait_for(lambda: archiving.states() == ["safe"])
    archiving.process.stop()
    archiving.process.start("/health/readiness", ARCHIVE_KEEP="0")
    wait_for(lambda: archiving.states() == ["elsewhere"])

    def gwclient(*arguments: str, url: str = archiving.process.url) -> tuple[int, str]:
        command = [sys.executable, "-m", "gwclient", "archives", *arguments, "--url", url]
        done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=60)
        return done.returncode, done.stdout + done.stderr

    listed = gwclient("list", "-o", "json", url=store.url("/archives"))[1]
    assert json.loads(listed)["elsewhere"] is True
    assert gwclient("-o", "name", url=store.url("/archives"))[1].strip() == folder.name
    code, said = gwclient("verify", folder.name)
    assert (code, "is what was put there" in said) == (0, True), said
    code, said = gwclient("get", folder.name, "--to", str(tmp_path / "got"))
    assert code == 0, said
    (remote,) = (tmp_path / "remote").iterdir()
    got = {path.name: path.read_bytes() for path in (tmp_path / "got" / remote.name).iterdir()}
    assert got == {path.name: path.read_bytes() for path in remote.iterdir()}
    assert gwclient("get", folder.name, "--to", str(tmp_path / "got"))[0] == 0  # it is there
    archiving.process.stop()
    archiving.process.start("/health/readiness")
    code, said = gwclient("restore", folder.name)
    assert code == 0, said
    assert segments(folder) == sent
    (remote / "index").unlink()
    code, said = gwclient("verify", folder.name)
    assert (code, "index is gone" in said) == (5, True), said
    assert gwclient("verify")[0] == 3
    assert gwclient("verify", "nobody")[0] == 5


def test_what_cannot_be_read_elsewhere_is_503_and_the_rest_is_served(archiving, tmp_path):
    store = archiving.store
    sent = fill(store, 100.0)
    store.cleanall()
    wait_for(lambda: archiving.states() == ["safe"])
    archiving.process.stop()
    archiving.process.start("/health/readiness", ARCHIVE_KEEP="0")
    wait_for(lambda: archiving.states() == ["elsewhere"])
    (tmp_path / "remote").rename(tmp_path / "away")
    name = next(iter(sent))
    answer = store.request("GET", "/segment", query=f"?name={name}&batch=all")
    assert (answer.status, answer.json()["code"]) == (503, "ERRREMOTE")
    assert store.request("GET", "/strain", query=STRETCH).status == 503
    assert store.request("GET", "/channels").status == 200
    assert len(store.request("GET", "/archives").json()["archives"]) == 1
    store.stored(segment(5, t0=1.0))
    (tmp_path / "away").rename(tmp_path / "remote")
    assert store.request("GET", "/segment", query=f"?name={name}&batch=all").data == sent[name]


def test_without_a_place_nothing_is_copied(topology, new_store, tmp_path):
    archiving = Archiving(new_store(topology, HOUSEKEEPING="0.1"))
    fill(archiving.store, 100.0, 2)
    archiving.store.cleanall()
    found = archiving.get().json()
    assert found["configured"] is False
    assert [row["state"] for row in found["archives"]] == ["waiting"]
    assert archiving.order(found["archives"][0]["name"], "verify").status == 404
    assert not (archiving.store.root / "datavar" / ".archives").exists()


def test_the_secrets_are_in_no_log_and_no_answer(new_store, tmp_path):
    secret = "hunter2-and-more"
    options = tmp_path / "options.json"
    options.write_text(json.dumps({"auto_mkdir": True, "password": secret}))
    env = {"ARCHIVE_URL": f"file://{tmp_path}/remote", "ARCHIVE_OPTIONS": str(options), "HOUSEKEEPING": "0.2"}
    archiving = Archiving(new_store("embedded", **env))
    fill(archiving.store, 100.0, 2)
    archiving.store.cleanall()
    wait_for(lambda: archiving.states() == ["safe"])
    seen = archiving.process.text() + archiving.get().data.decode()
    seen += "".join(path.read_text(errors="ignore") for path in Path(tmp_path / "remote").rglob("*") if path.is_file())
    assert secret not in seen


def test_a_store_restored_on_an_empty_volume_answers_as_before(new_store, tmp_path):
    env = {"ARCHIVE_URL": f"file://{tmp_path}/remote", "ARCHIVE_KEEP": "0", "HOUSEKEEPING": "0.3"}
    archiving = Archiving(new_store("embedded", **env))
    store = archiving.store
    sent = fill(store, 100.0)
    store.freeze()
    store.cleanall()
    key = {"Idempotency-Key": "once"}
    body = segment(25, t0=104.0, dt=0.01, channel="V1:X")
    once = store.send(body, key).data
    sent |= fill(store, 105.0)
    store.cleanall()
    wait_for(lambda: archiving.states() == ["elsewhere", "elsewhere"])

    def answers(of) -> list:
        found = [of.request("GET", "/strain", query=f"?channel=V1:X&start={t0}&end={t0 + 1}&format=json").json()
                 for t0 in (100, 101, 102, 105, 106, 107)]  # fmt: skip
        rows = of.request("GET", "/archives").json()["archives"]
        known = ("name", "batch", "n_itm", "buff_size", "opened", "time", "frozen", "span", "channels", "changes")
        found += [{key: row.get(key) for key in known} for row in rows]
        found += [of.request("GET", "/channels").json(), of.request("GET", "/coverage", query="?channel=V1:X").json()]
        return found

    before = answers(store)
    store.stop()
    command = [sys.executable, "-m", "shared.archiver.rebuild"]
    environment = {"PATH": os.environ["PATH"], "ROOT": str(tmp_path / "new"), "ARCHIVE_URL": env["ARCHIVE_URL"]}
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=environment, timeout=60)
    assert done.returncode == 0, done.stderr
    assert "2 archives are back" in done.stdout
    restored = new_store("embedded", root=tmp_path / "new")  # without ARCHIVE_URL: nothing lies elsewhere
    assert answers(restored) == before
    for name, content in sent.items():
        assert restored.request("GET", "/segment", query=f"?name={name}&batch=all").data == content
    assert restored.request("GET", "/dumpF").json() == {"nmlist": []}
    assert restored.request("GET", "/archives").json()["open"]["batch"] == 3
    assert restored.send(body, key).data == once  # the last batch's keys are known
    for folder in restored.archives():
        check_archive(folder)
