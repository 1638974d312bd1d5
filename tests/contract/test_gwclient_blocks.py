"""gwclient sends several channels in blocks: the bytes as pyarrow reads them, and the command as people run it."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from fractions import Fraction

import h5py
import numpy
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gwclient.arrow_stream import BlockWriter, Column
from gwclient.blocks import Blocks
from gwclient.errors import NoData
from gwclient.sources import Strain
from shared.domain import arrow_block
from tests.support import ROOT
from tests.support.blocks import NS, T0, held
from tests.support.checks import wait_for


@settings(max_examples=150, deadline=None)
@given(st.lists(st.lists(st.none() | st.floats(allow_nan=False), max_size=9), min_size=1, max_size=5))
def test_pyarrow_reads_what_the_client_writes(lists):
    writer = BlockWriter({f"V1:Ünit_{i}": str(2**i) for i in range(len(lists))})
    columns = []
    for values in lists:
        valid = numpy.array([value is not None for value in values], bool)
        samples = numpy.array([0.0 if value is None else value for value in values])
        columns.append(Column(samples, None if valid.all() else valid))
    for time in (T0 * NS, T0 * NS + 1):
        found = pa.ipc.open_stream(writer.block(time, columns)).read_all()
        found.validate(full=True)
        assert found.column("time").to_pylist() == [time]
        assert [found.column(1 + i).to_pylist() for i in range(len(lists))] == [[values] for values in lists]
        assert [field.metadata for field in found.schema][1:] == [{b"rate": b"%d" % 2**i} for i in range(len(lists))]


def strain(name, samples, t0=T0, rate=16):
    return Strain(numpy.array(samples, "f8"), Fraction(t0), Fraction(rate), "V1", name)


def runs(blocks):
    """What each block holds: channel, seconds since T0, samples."""
    found = []
    for number in range(blocks.count):
        body = blocks.body(number)
        held = [(name, r.t0, arrow_block.values(body, "V1", name, r.t0).tolist())
                for r in arrow_block.parse(body, 100) for name in r.channels]  # fmt: skip
        found.append(held)
    return found


def test_blocks_hold_every_sample_once_wherever_channels_begin_and_end():
    channels = [
        strain("V1:a", range(40)),
        strain("V1:b", range(10), Fraction(T0) + Fraction(1, 4), 4),  # begins a sample later
        strain("V1:c", range(3), T0 + 2, 2),
    ]
    found = runs(Blocks(channels, Fraction(1)))
    assert found[0] == [
        ("V1:a", T0, list(range(16))),
        ("V1:b", T0 + 0.25, [0, 1, 2]),
    ]
    assert found[2] == [("V1:a", T0 + 2, list(range(32, 40))), ("V1:b", T0 + 2, [7, 8, 9]), ("V1:c", T0 + 2, [0, 1])]
    for one in channels:
        joined = [sample for block in found for name, _, samples in block if name == one.channel for sample in samples]
        assert joined == one.samples.tolist()


def test_gaps_are_nulls_and_an_interval_without_samples_is_no_block():
    samples = numpy.arange(64.0)
    samples[3:5] = math.nan
    samples[16:40] = math.inf
    blocks = Blocks([strain("V1:a", samples)], Fraction(1))
    assert blocks.count == 3
    assert runs(blocks) == [
        [("V1:a", T0, [0, 1, 2]), ("V1:a", T0 + 5 / 16, list(range(5, 16)))],
        [("V1:a", T0 + 2.5, list(range(40, 48)))],
        [("V1:a", T0 + 3, list(range(48, 64)))],
    ]


@pytest.mark.parametrize(
    ("channels", "seconds", "words"),
    [
        ([strain("V1:a", [1.0]), strain("V1:b", [1.0], Fraction(T0) + Fraction(1, 40))], 1, "V1:b"),
        ([strain("V1:a", [1.0]), strain("V1:b", [1.0], rate=Fraction(1, 2))], 1, "--seconds"),
    ],
)
def test_channels_that_cannot_share_a_block_are_named(channels, seconds, words):
    with pytest.raises(NoData, match=words):
        Blocks(channels, Fraction(seconds))


# -- the command ----------------------------------------------------------------------------------------------


@pytest.fixture
def command(tmp_path):
    def arguments(*words):
        return [sys.executable, "-m", "gwclient", *map(str, words)]

    clean = {k: v for k, v in os.environ.items() if k in ("PATH", "HOME", "LANG", "TMPDIR")}
    env = {**clean, "XDG_STATE_HOME": str(tmp_path / "state"), "PYTHONPATH": str(ROOT)}

    def run(*words):
        return subprocess.run(arguments(*words), capture_output=True, text=True, timeout=120, env=env)

    vars(run)["start"] = lambda *words: subprocess.Popen(arguments(*words), stderr=subprocess.PIPE, text=True, env=env)
    return run


@pytest.fixture
def file(tmp_path):
    """10 s of several channels in the layout of gwpy; `V1:b` with a gap."""
    dice = numpy.random.default_rng(1)
    samples = {f"V1:{c}": dice.normal(scale=1e-21, size=10 * rate) for c, rate in (("a", 4096), ("b", 256), ("c", 16))}
    samples["L1:x"] = dice.normal(size=10)
    samples["V1:b"][700:710] = math.nan
    path = tmp_path / "day.hdf5"
    with h5py.File(path, "w") as stored:
        for name, values in samples.items():
            data = stored.create_dataset(name, data=values)
            data.attrs["x0"], data.attrs["dx"], data.attrs["xunit"] = float(T0), 10 / len(values), "s"
    return path, samples


def read_back(store):
    """The samples of each channel by their number since T0."""
    found: dict[str, dict[int, float]] = {}
    for entry in store.logged():
        body = (store.data / entry["name"]).read_bytes()
        for detector, channel, t0, dt, _ in held(entry):
            values = arrow_block.values(body, detector, channel, t0)
            slots = found.setdefault(channel, {})
            for number, value in enumerate(values, round((t0 - T0) / dt)):
                assert number not in slots, "a sample was stored twice"
                slots[number] = value
    return found


def test_channels_that_match_are_sent_in_blocks_and_every_bit_arrives_once(store, command, file):
    path, samples = file
    arguments = ("stream", "--file", path, "--channel", "V1:*", "--url", store.url("/sendF"), "--gaps", "skip")
    client = command.start(*arguments, "--rate", "2", "--in-flight", "1")
    wait_for(lambda: store.stat()["n_itm"] >= 3 or client.poll() is not None)
    client.kill()
    client.communicate()
    done = command(*arguments)
    assert done.returncode == 0, done.stderr
    assert "going on after" in done.stderr
    assert "all 10 blocks stored" in done.stderr
    assert store.check_exact()["n_itm"] == 10
    found = read_back(store)
    assert set(found) == {"V1:a", "V1:b", "V1:c"}
    for name, slots in found.items():
        expected = {i: v for i, v in enumerate(samples[name].tolist()) if not math.isnan(v)}
        assert slots == expected
    rows = [
        json.loads(line)
        for line in command("channels", "--url", store.url("/dumpLogF"), "-o", "json").stdout.splitlines()
    ]
    assert [(row["channel"], row["rate"], row["gaps"]) for row in rows] == [
        ("V1:a", 4096, 0), ("V1:b", 256, 1), ("V1:c", 16, 0),
    ]  # fmt: skip
    shown = command("log", "--url", store.url("/dumpLogF"), "-o", "table").stdout.splitlines()
    assert len(shown) == 11
    assert all("arrow" in line and "channels" in line for line in shown[1:])


def test_longer_blocks_and_a_part_of_a_file(store, command, file):
    path, samples = file
    part = ("--gps", T0 + 5, "--inf", "4", "--sup", "4", "--seconds", "4")
    done = command("stream", "--file", path, "--channel", "V1:[ac]", "--url", store.url("/sendF"), *part)
    assert done.returncode == 0, done.stderr
    assert [len(held(entry)) for entry in store.logged()] == [2, 2]
    assert read_back(store)["V1:a"] == dict(enumerate(samples["V1:a"].tolist()[4096 : 9 * 4096], 4096))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--channel", "K1:*"), "V1:a"),
        (("--channel", "V1:*"), "not observing"),  # a gap, and no --gaps skip
        (("--channel", "*"), "not a whole number|do not hold"),
    ],
)
def test_what_cannot_be_sent_is_named(store, command, file, arguments, words):
    more = ("--seconds", "0.5", "--gaps", "skip") if arguments[1] == "*" else ()
    done = command("stream", "--file", file[0], "--url", store.url("/sendF"), *arguments, *more)
    assert done.returncode == 6, done.stderr
    assert any(word in done.stderr for word in words.split("|")), done.stderr
    assert store.stat()["n_itm"] == 0
