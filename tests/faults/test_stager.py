"""Staged files are whole and all there, whatever happens to the process that makes them."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
from itertools import accumulate
from pathlib import Path

import pytest

from shared.config import store_from_env
from shared.errors import StorageFailed
from shared.ingest import stager as module
from shared.ingest.stager import Stager
from shared.volume.layout import Layout, create_folders
from shared.volume.spool import SpoolDirectory
from tests.support import ROOT
from tests.support.checks import wait_for

SPOOL = "0123456789abcdef"


def group(spool, at, payloads):
    """As `SpoolWriter.store` hands them over."""
    offsets = accumulate(map(len, payloads[:-1]), initial=at)
    return [(spool, offset, payload) for offset, payload in zip(offsets, payloads, strict=True)]


class Spooled:
    """A spool with payloads in it, and what stages them."""

    def __init__(self, root, count=20):
        layout = Layout(store_from_env({"ROOT": str(root)}))
        create_folders(layout)
        self.directory = SpoolDirectory(layout)
        self.stager = Stager(self.directory, threshold=3)
        self.payloads = [bytes([65 + i]) * (100 + i) for i in range(count)]
        self.spool(SPOOL).write_bytes(b"earlier" + b"".join(self.payloads))

    def spool(self, name):
        return Path(self.directory.file(name))

    def start(self):
        self.stager.start(group(SPOOL, 7, self.payloads))

    def staged(self):
        """Where each payload is to be found."""
        at = 7
        for payload in self.payloads:
            yield Path(self.directory.staged(SPOOL, at))
            at += len(payload)

    def files(self):
        """The staged payloads in their order, None where there is none."""
        return [path.read_bytes() if path.exists() else None for path in self.staged()]

    def unstage(self):
        for path in self.staged():
            path.unlink(missing_ok=True)

    @property
    def process(self):
        return self.stager._process


@pytest.fixture
def spooled(tmp_path):
    spooled = Spooled(tmp_path / "store")
    yield spooled
    spooled.stager.close()


@pytest.mark.parametrize("count", [1, 2, 3, 20])
def test_every_payload_becomes_a_file(tmp_path, count):
    spooled = Spooled(tmp_path / "store", count)
    spooled.start()
    assert spooled.stager.finish() == [None] * count
    assert spooled.files() == spooled.payloads
    assert (spooled.process is not None) == (count >= 3), "few are made in this process, many in another"
    spooled.stager.close()


def test_one_process_serves_group_after_group_and_spool_after_spool(spooled):
    spooled.start()
    spooled.stager.finish()
    first = spooled.process.pid
    other = "f" * 16
    spooled.spool(other).write_bytes(b"onetwothree")
    spooled.stager.start(group(other, 0, [b"one", b"two", b"three"]))
    assert spooled.stager.finish() == [None] * 3
    assert Path(spooled.directory.staged(other, 6)).read_bytes() == b"three"
    assert spooled.process.pid == first


def test_a_file_that_cannot_be_made_fails_alone(spooled):
    list(spooled.staged())[1].write_bytes(b"another's")
    spooled.start()
    results = spooled.stager.finish()
    assert isinstance(results[1], StorageFailed)
    assert "File exists" in str(results[1])
    assert results[:1] + results[2:] == [None] * 19
    assert spooled.files() == [spooled.payloads[0], b"another's", *spooled.payloads[2:]]


def test_nothing_is_left_of_a_payload_the_spool_does_not_hold(spooled):
    os.truncate(spooled.directory.file(SPOOL), 7 + 100 + 50)  # as after a failed sync
    spooled.start()
    results = spooled.stager.finish()
    assert results[0] is None
    assert all(isinstance(result, StorageFailed) for result in results[1:])
    assert spooled.files() == [spooled.payloads[0]] + [None] * 19


def test_a_killed_process_costs_nothing(spooled):
    spooled.start()
    spooled.stager.finish()
    spooled.unstage()
    spooled.process.kill()
    spooled.process.wait()
    spooled.start()  # finds out now, or when it waits for the answer
    assert spooled.stager.finish() == [None] * 20
    assert spooled.files() == spooled.payloads


@pytest.mark.parametrize("what", [signal.SIGKILL, signal.SIGSTOP])
def test_a_process_that_does_not_answer_is_done_without(spooled, what, monkeypatch):
    monkeypatch.setattr(module, "_TIMEOUT", 0.5)
    spooled.stager.start(group(SPOOL, 7, spooled.payloads[:3]))
    spooled.stager.finish()
    spooled.unstage()
    pid = spooled.process.pid
    os.kill(pid, signal.SIGSTOP)
    spooled.start()
    list(spooled.staged())[3].write_bytes(b"hal")  # so far it came
    os.kill(pid, what)
    assert spooled.stager.finish() == [None] * 20
    assert spooled.files() == spooled.payloads
    with pytest.raises(ProcessLookupError):  # it must not wake up later
        os.kill(pid, 0)


def test_an_answer_nobody_waited_for_is_not_taken_for_the_next_one(spooled):
    spooled.start()
    spooled.spool("e" * 16).write_bytes(b"abc")
    spooled.stager.start(group("e" * 16, 0, [b"a", b"b", b"c", b"d"]))  # the fourth is not there
    assert [result is None for result in spooled.stager.finish()] == [True, True, True, False]


def test_a_server_may_have_more_descriptors_than_select_takes(spooled):
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (2048, limits[1]))
    connections = [os.open("/dev/null", os.O_RDONLY) for _ in range(1100)]
    try:
        spooled.start()
        assert spooled.stager.finish() == [None] * 20
    finally:
        for connection in connections:
            os.close(connection)
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    assert spooled.files() == spooled.payloads


def test_where_no_process_can_be_started_files_are_made_all_the_same(spooled, monkeypatch):
    monkeypatch.setattr(module, "_COMMAND", ["/nowhere/python"])
    spooled.start()
    assert spooled.stager.finish() == [None] * 20
    assert spooled.files() == spooled.payloads


def test_the_process_ends_with_its_owner(tmp_path):
    code = (
        "import sys, time; from pathlib import Path; from tests.faults.test_stager import Spooled\n"
        "s = Spooled(Path(sys.argv[1])); s.start(); s.stager.finish(); print(s.process.pid, flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", code, tmp_path / "store"], cwd=ROOT, stdout=subprocess.PIPE) as owner:
        assert owner.stdout
        about = Path("/proc", owner.stdout.readline().decode().strip(), "stat")
        assert about.exists()
        owner.kill()
    wait_for(lambda: not about.exists() or about.read_text().split()[2] == "Z")


def test_it_starts_soon(spooled):
    """Nothing but the interpreter itself is imported there."""
    modules = subprocess.run(
        [*module._COMMAND[:-1], "-X", "importtime", module._COMMAND[-1]], input=b"", capture_output=True, check=True
    ).stderr
    assert len(modules.splitlines()) < 60
