"""Files that are gone, altered or hidden are noticed and named; what is decided is answered as done."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from contextlib import contextmanager

import pytest

from tests.support import ROOT
from tests.support.builders import segment
from tests.support.checks import check_archive, wait_for
from tests.support.servers import http


def metric(store, name: str) -> float:
    text = http.request("GET", store.writer.url + "/metrics").data.decode()
    return next(float(line.split()[-1]) for line in text.splitlines() if line.startswith(name + " "))


@contextmanager
def mounted(path):
    """A file system of its own at `path`: nothing can be renamed into it, out of it, or from its own place."""
    path.mkdir(exist_ok=True)
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", path], capture_output=True)
    if done.returncode:
        pytest.skip(f"cannot mount a file system: {done.stderr.decode().strip()}")
    try:
        yield
    finally:
        subprocess.run(["umount", path], check=True)


@pytest.fixture
def altered(topology, new_store):
    """A restarted store of five segments without their spool: one file deleted, one cut, one overwritten."""
    store = new_store(topology, HOUSEKEEPING="0.2")
    names = [store.stored(segment(n)) for n in range(1, 6)]
    store.stop()
    store.start()
    wait_for(lambda: not any(path.stat().st_size for path in (store.root / "datavar/.spool").iterdir()))
    store.stop()
    gone, cut, overwritten, *_ = (store.data / name for name in names)
    gone.unlink()
    os.truncate(cut, 20)
    overwritten.write_bytes(b"x" * overwritten.stat().st_size)
    return store.start(), names


def test_files_that_are_gone_or_cut_are_named_and_never_silently_counted(altered):
    store, names = altered
    wait_for(lambda: metric(store, "datastore_segments_missing") == 2)
    assert store.stat() == {"n_itm": 5, "buff_size": sum(len(segment(n)) for n in range(1, 6)), "missing": 2}
    published = json.loads((store.root / "appdata/adm/missing.json").read_text())
    assert published == {"batch": 1, "count": 2, "names": sorted(names[:2])}
    assert store.cleanall().status == 201
    (archive,) = store.archives()
    assert json.loads((archive / "StatDesc.json").read_text())["missing"] == 2
    assert json.loads((archive / "missing.json").read_text())["names"] == sorted(names[:2])
    wait_for(lambda: "missing" not in store.stat())
    assert metric(store, "datastore_segments_missing") == 0


def test_an_altered_segment_is_not_served_as_what_was_stored(altered):
    store, names = altered
    answers = [store.request("GET", "/segment", query=f"?name={name}") for name in names]
    assert [answer.status for answer in answers] == [404, 500, 500, 200, 200]
    assert [answer.json()["code"] for answer in answers[:3]] == ["ERRFILE", "ERRDATA", "ERRDATA"]
    assert answers[3].data == segment(4)


def test_verification_names_every_file_that_differs(altered):
    store, names = altered
    env = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "ROOT": str(store.root)}
    command = [sys.executable, "-m", "shared.storage.verification"]
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True)
    assert done.returncode == 1, done.stderr
    assert {name for name in names if name in done.stdout} == set(names[:3])
    assert "1 batches verified, 3 files differ" in done.stdout


def test_a_cleanall_that_was_decided_is_answered_as_done(topology, new_store):
    store = new_store(topology)
    store.stored(segment(1))
    with mounted(store.root / "datavar/products"):  # a step after the decision fails
        answer = store.cleanall()
        assert answer.status == 201, answer.data
    with contextlib.suppress(FileNotFoundError):  # housekeeping may have moved it into the archive
        (store.root / "datavar/products").rmdir()
    assert store.cleanall().status == 201  # of the next batch, as asked
    first, second = store.archives()
    assert len(check_archive(first)) == 1
    assert check_archive(second) == {}


def test_a_batch_on_another_file_system_than_its_spool_is_refused_at_the_start(topology, new_store, tmp_path):
    data = tmp_path / "store/datavar/data"
    data.mkdir(parents=True)
    with mounted(data):
        store = new_store(topology, ready=False)
        answer = http.request("GET", store.writer.url + "/health/readiness")
        assert (answer.status, answer.json()["code"]) == (507, "ERRIO")
        assert "different file systems" in answer.json()["body"]
        store.stop()


def test_files_that_the_volume_does_not_take_are_counted_and_logged_once(topology, new_store):
    store = new_store(topology, HOUSEKEEPING="0.2")
    store.stored(segment(1))
    with mounted(store.data):
        names = [store.stored(segment(n)) for n in range(2, 12)]
        wait_for(lambda: metric(store, "datastore_segments_pending") == 10)
        assert store.writer.text().count("not visible yet") == 1
        assert store.cleanall().status == 507
    store.stored(segment(12))
    wait_for(lambda: metric(store, "datastore_segments_pending") == 0)
    assert set(names) < set(store.files())
    assert store.check_exact()["n_itm"] == 12


def test_one_archive_that_cannot_be_read_does_not_hide_the_others(topology, new_store):
    store = new_store(topology)
    for n in (1, 2):
        store.stored(segment(n))
        assert store.cleanall().status == 201
    broken, whole = store.archives()
    (broken / "StatDesc.json").write_bytes(b"")
    listed = {archive["name"]: archive for archive in store.request("GET", "/archives").json()["archives"]}
    assert listed[whole.name]["n_itm"] == 1
    assert "cannot be read" in listed[broken.name]["error"]
