"""The command that serves a function: what it says when it is there, and what it does not start with."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

from tests.support import ROOT
from tests.support.servers import Process


def refused(target: str, root, **env: str) -> str:
    """Start a function that cannot start; return its one line."""
    process = Process(target, {"ROOT": str(root)}, forked=True)
    process.start(wait="", **env)
    assert process.wait_dead() == 2
    (line,) = process.text().splitlines()
    return line


@pytest.mark.parametrize("target", ["ingest", "freeze"])
def test_a_missing_writer_url_ends_the_process_at_start(target, tmp_path):
    assert refused(target, tmp_path).startswith("WRITER_URL='': must be")


@pytest.mark.parametrize(
    ("variable", "value", "right"),
    [
        ("FUNCTION_TARGET", "nothing", "must be one of archiver,"),
        ("SERVURL", "nowhere", "must be host:port"),
        ("SERVURL", "http://127.0.0.1:80", "must be host:port, without http://"),
        ("SERVURL", "192.0.2.1:80", "must be an address of this machine"),
        ("MAX_SIZE", "4MB", "must be a positive number of bytes"),
        ("LIVE_READERS", "many", "must be a positive whole number"),
        ("FAILPOINTS", "nowhere=kill", "'nowhere=kill' is none"),
        ("AUTH_TOKENS", "/nowhere/tokens", "No such file or directory; must be a file of lines as"),
    ],
)
def test_a_bad_setting_ends_the_process_with_one_clear_line_and_leaves_nothing(variable, value, right, tmp_path):
    line = refused("datastore", tmp_path / "store", **{variable: value})
    assert line.startswith(f"{variable}='{value}': ")
    assert right in line
    assert not (tmp_path / "store").exists()


@pytest.mark.parametrize("variable", ["DATASET", "URL_SIGNING_KEY"])
def test_a_file_that_cannot_be_read_is_named_without_a_traceback(variable, tmp_path):
    process = Process("datastore", {"ROOT": str(tmp_path / "store"), variable: "/nowhere/file"}, forked=True)
    process.start(wait="")
    assert process.wait_dead() != 0
    assert f"{variable}='/nowhere/file': " in process.text()
    assert "No such file" in process.text()
    assert "Traceback" not in process.text()


def test_a_folder_that_cannot_be_made_ends_the_process(tmp_path):
    place = tmp_path / "file"
    place.touch()
    line = refused("datastore", place)
    assert line.startswith(f"{place}/appdata/adm: cannot be made: Not a directory")
    assert "ROOT chooses another place" in line


def test_a_store_says_where_it_is_and_a_second_one_what_is_in_its_way(tmp_path):
    root = tmp_path / "store"
    first = Process("datastore", {"ROOT": str(root), "MAXSIZE": "3"}, forked=True)
    second = Process("datastore", {"ROOT": str(root)}, forked=True)
    try:
        first.start("/health/readiness")
        said = first.text()
        assert f"serves at {first.url}/" in said
        assert str(root) in said
        assert "without credentials, from this machine only" in said
        assert "MAXSIZE is not a variable of the store and has no effect; MAX_SIZE is one" in said
        assert "another store" not in said

        taken = refused("datastore", tmp_path / "other", SERVURL=f"127.0.0.1:{first.port}")
        assert "something is served there already" in taken
        assert not (tmp_path / "other").exists()

        second.start("/health/readiness")
        assert "another store serves the data in" in second.text()
    finally:
        first.stop()
        second.stop()


@pytest.mark.parametrize("target", ["datastore", "stats"])  # one under each server
def test_a_crash_leaves_the_threads_stacks_in_the_log(target, tmp_path):
    process = Process(target, {"ROOT": str(tmp_path / "store")}, forked=True)
    try:
        process.start()
        process.signal(signal.SIGSEGV)
        assert process.wait_dead() == -signal.SIGSEGV
        assert "Fatal Python error: Segmentation fault" in process.text()
        assert "Current thread" in process.text()
    finally:
        process.stop()


@pytest.mark.parametrize(("argument", "status", "said"), [
    ("--help", 0, "SERVURL"), ("--version", 0, "0."), ("--hlep", 2, "usage: make run"),
])  # fmt: skip
def test_arguments_are_answered_and_start_nothing(argument, status, said, tmp_path):
    env = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "ROOT": str(tmp_path / "store")}
    done = subprocess.run(
        [sys.executable, "-m", "shared.serve", argument], env=env, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == status
    assert said in done.stdout + done.stderr
    assert not (tmp_path / "store").exists()
