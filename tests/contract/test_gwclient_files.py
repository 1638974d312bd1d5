"""gwclient sends files in turn, and those that appear in a folder: each sample once, whatever interrupts it."""

from __future__ import annotations

import math
import os
import signal
import subprocess
import sys
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import h5py
import numpy
import pytest

from gwclient.errors import NoData
from gwclient.sources import several_from_file
from gwclient.stream_files import SentFiles, frame_files
from shared.domain import arrow_block
from shared.strain.formats import gwf
from tests.support import ROOT
from tests.support.blocks import T0, held
from tests.support.checks import wait_for

RATES = {"V1:a": 1024, "V1:b": 16}
SECONDS = 4  # in a file


def strain(name: str, first: int, seconds: int) -> numpy.ndarray:
    """Samples that tell their time: from `first` seconds after T0 on."""
    rate = RATES[name]
    return (numpy.arange(first * rate, (first + seconds) * rate) + 0.1) * 1e-21


def write(folder: Path, number: int, suffix: str, names=tuple(RATES)) -> Path:
    """A file of SECONDS, put into the folder as detectors deliver theirs: whole, under its final name."""
    first = number * SECONDS
    path = folder / f"V-V1_TEST-{T0 + first}-{SECONDS}{suffix}"
    temp = path.with_name(f".{path.name}")
    if suffix == ".gwf":
        series = [(name, Fraction(T0 + first), RATES[name], strain(name, first, SECONDS).tobytes()) for name in names]
        temp.write_bytes(gwf.write(series))
    else:
        with h5py.File(temp, "w") as file:
            for name in names:
                data = file.create_dataset(name, data=strain(name, first, SECONDS))
                data.attrs["x0"], data.attrs["dx"], data.attrs["xunit"] = float(T0 + first), 1 / RATES[name], "s"
    return temp.rename(path)


@pytest.fixture
def gwclient(tmp_path):
    """Runs the command; `start` leaves it running, with its messages in a file."""
    clean = {k: v for k, v in os.environ.items() if k in ("PATH", "HOME", "LANG", "TMPDIR")}
    env = {**clean, "XDG_STATE_HOME": str(tmp_path / "state"), "PYTHONPATH": str(ROOT)}
    started: list[subprocess.Popen] = []

    def arguments(*words):
        return [sys.executable, "-m", "gwclient", "stream", *map(str, words)]

    def run(*words):
        return subprocess.run(arguments(*words), capture_output=True, text=True, timeout=120, env=env)

    def start(*words):
        with open(tmp_path / "said", "a") as said:
            started.append(subprocess.Popen(arguments(*words), stderr=said, env=env))
        return started[-1]

    vars(run)["start"], vars(run)["said"] = start, lambda: (tmp_path / "said").read_text()
    yield run
    for process in started:
        process.kill()
        process.wait()


def stored(store) -> dict[str, dict[int, float]]:
    """The samples of each channel by their number since T0; each is there once."""
    found: dict[str, dict[int, float]] = {}
    for entry in store.logged():
        body = (store.data / entry["name"]).read_bytes()
        for detector, channel, t0, dt, _ in held(entry):
            slots = found.setdefault(channel, {})
            for number, value in enumerate(arrow_block.values(body, detector, channel, t0), round((t0 - T0) / dt)):
                assert number not in slots, "a sample was stored twice"
                slots[number] = value
    return found


def whole(files: int) -> dict[str, dict[int, float]]:
    return {name: dict(enumerate(strain(name, 0, files * SECONDS).tolist())) for name in RATES}


def wait_for_blocks(store, client: subprocess.Popen, count: int) -> None:
    wait_for(lambda: store.stat()["n_itm"] >= count or client.poll() is not None)


def test_files_that_appear_are_sent_once_although_the_client_is_killed(new_store, gwclient, tmp_path):
    store = new_store("embedded")
    folder = tmp_path / "frames"
    folder.mkdir()
    write(folder, 0, ".gwf")
    write(folder, 1, ".hdf5")
    (folder / ".V-V1_TEST-9999999999-4.gwf").write_bytes(b"not whole yet")
    arguments = ("--file", folder, "--follow", "--channel", "V1:*", "--url", store.url("/sendF"), "--in-flight", "2")
    client = gwclient.start(*arguments, "--rate", "8")
    for number, stored_so_far in ((2, 2), (3, 7), (4, 9)):
        wait_for_blocks(store, client, stored_so_far)
        write(folder, number, (".gwf", ".hdf5")[number % 2])
        client.kill()
        client.wait()
        client = gwclient.start(*arguments, "--rate", "8")
    good = write(tmp_path, 5, ".gwf")
    (folder / good.name).write_bytes(good.read_bytes()[:-2000])
    wait_for(lambda: "is damaged" in gwclient.said() or client.poll() is not None)
    good.rename(folder / good.name)
    wait_for_blocks(store, client, 6 * SECONDS)
    client.send_signal(signal.SIGINT)
    assert client.wait(30) == 130, gwclient.said()
    assert "going on after" in gwclient.said()
    assert store.check_exact()["n_itm"] == 6 * SECONDS
    assert stored(store) == whole(6)
    (folder / f"V-V1_TEST-{T0}-4.gwf").touch()
    client = gwclient.start(*arguments)
    write(folder, 6, ".gwf")
    wait_for_blocks(store, client, 7 * SECONDS)
    assert stored(store) == whole(7)


def test_several_files_are_sent_in_order_and_the_state_is_removed(store, gwclient, tmp_path):
    suffixes = (".hdf5", ".gwf", ".hdf5", ".hdf5", ".hdf5", ".hdf5")
    paths = [write(tmp_path, number, suffix) for number, suffix in enumerate(suffixes)]
    done = gwclient("--file", *paths, "--channel", "V1:*", "--url", store.url("/sendF"), "--in-flight", "1")
    assert done.returncode == 0, done.stderr
    assert "all of 6 files stored; 24 blocks" in done.stderr
    assert [entry["holds"][0][1] for entry in store.logged()] == [T0 + k for k in range(24)]
    assert stored(store) == whole(6)
    assert list((tmp_path / "state" / "gwclient").iterdir()) == []


def test_a_file_that_is_touched_while_it_is_sent_is_sent_once(new_store, gwclient, tmp_path):
    store = new_store("embedded")
    folder = tmp_path / "frames"
    folder.mkdir()
    path = write(folder, 0, ".hdf5")
    client = gwclient.start(
        *("--file", folder, "--follow", "--channel", "V1:*", "--url", store.url("/sendF"), "--rate", "2")
    )
    wait_for_blocks(store, client, 1)
    path.touch()
    write(folder, 1, ".hdf5")
    wait_for_blocks(store, client, 2 * SECONDS)
    client.send_signal(signal.SIGINT)
    client.wait(30)
    assert stored(store) == whole(2)


def test_a_file_that_cannot_be_read_does_not_keep_the_one_before_it_from_being_sent(store, gwclient, tmp_path):
    paths = [write(tmp_path, number, ".hdf5") for number in range(2)]
    paths[1].write_bytes(b"not HDF5")
    done = gwclient("--file", *paths, "--channel", "V1:*", "--url", store.url("/sendF"), "--state", tmp_path / "state")
    assert (done.returncode, "is damaged" in done.stderr) == (6, True), done.stderr
    assert stored(store) == whole(1)
    assert paths[0].name in SentFiles(tmp_path / "state")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--file", "{}", "--follow"), "--channel"),
        (("--file", "{}", "{}", "--channel", "V1:*", "--follow"), "one folder"),
        (("--file", "{}/a.gwf", "{}/b/a.gwf", "--channel", "V1:*"), "two files are called a.gwf"),
        (("--file", "{}/none.gwf", "{}", "--channel", "V1:*"), "none.gwf"),
        (("--file", "{}/none", "--channel", "V1:*", "--follow"), "one folder"),
    ],
)
def test_what_cannot_be_sent_is_named(gwclient, tmp_path, arguments, words):
    done = gwclient(*(argument.format(tmp_path) for argument in arguments), "--url", "127.0.0.1:1")
    assert done.returncode == 6, done.stderr
    assert words in done.stderr


def test_a_frame_file_gives_all_channels_that_match(tmp_path):
    path = write(tmp_path, 0, ".gwf")
    found = several_from_file(path, "", "V1:*")
    assert [(one.channel, one.detector, one.t0, one.rate) for one in found] == [
        (name, "V1", T0, rate) for name, rate in RATES.items()
    ]
    assert all(numpy.array_equal(one.samples, strain(one.channel, 0, SECONDS)) for one in found)
    assert [one.channel for one in several_from_file(path, "V1", "*:b")] == ["V1:b"]
    for pattern, detector in (("L1:*", ""), ("V1:*", "L1")):
        with pytest.raises(NoData, match="no channel"):
            several_from_file(path, detector, pattern)
    assert math.isfinite(found[0].samples[0])


@pytest.mark.parametrize("type", ["<f8", "<f4", ">f8", "<i4"])
def test_a_file_is_read_over_strain_that_is_not_needed_any_more(tmp_path, type):
    path = write(tmp_path, 1, ".hdf5")
    with h5py.File(path, "a") as file:
        samples = (1e24 * file["V1:b"][()]).astype(type)
        attributes = dict(file["V1:b"].attrs)
        del file["V1:b"]
        file.create_dataset("V1:b", data=samples).attrs.update(attributes)
    spare = several_from_file(write(tmp_path, 0, ".hdf5", ("V1:b",)), "", "V1:*")
    spare += [replace(spare[0], channel="V1:a")]  # of another length
    found = several_from_file(path, "", "V1:*", spare)
    assert [(one.channel, one.t0) for one in found] == [(name, T0 + SECONDS) for name in RATES]
    assert numpy.array_equal(found[0].samples, strain("V1:a", SECONDS, SECONDS))
    assert numpy.array_equal(found[1].samples, samples)
    assert numpy.shares_memory(found[1].samples, spare[0].samples) == (type in ("<f8", "<f4"))


def test_files_are_listed_by_gps_time_and_those_that_are_not_whole_left_out(tmp_path):
    for name in (
        "V-X-999999999-4.gwf",
        "V-X-1126259446-4.gwf",
        "V-A-1126259450-4.h5",
        ".V-X-1-4.gwf",
        "x.txt",
        "a.gwf",
    ):
        (tmp_path / name).touch()
    (tmp_path / "folder.gwf").mkdir()
    assert [path.name for path in frame_files(tmp_path)] == [
        "a.gwf", "V-X-999999999-4.gwf", "V-X-1126259446-4.gwf", "V-A-1126259450-4.h5",
    ]  # fmt: skip


def test_a_torn_line_of_the_list_of_sent_files_is_no_sent_file(tmp_path):
    sent = SentFiles(tmp_path)
    sent.add("a.gwf")
    sent.state("a.gwf").touch()  # killed before it was removed
    with open(tmp_path / "sent", "ab") as file:
        file.write(b"b.gw")
    again = SentFiles(tmp_path)
    assert ("a.gwf" in again, "b.gw" in again, len(again)) == (True, False, 1)
    assert not sent.state("a.gwf").exists()
    again.add("b.gwf")
    assert "b.gwf" in SentFiles(tmp_path)
