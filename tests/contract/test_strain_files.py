"""Strain as HDF5 and GWF: what is in the files, and what the field's own readers make of them."""

from __future__ import annotations

import os
import random
from array import array
from fractions import Fraction

import pytest

from shared.errors import BadRequest, Busy, NotAcceptable, SegmentDamaged, StorageFailed
from shared.strain.formats import gwf
from shared.strain.formats.hdf5_request import Channel, Piece
from shared.strain.hdf5_process import Hdf5Process
from tests.support.field_clients import needs_client, run_client

G = 1126259446
RATE = 4096
CHANNEL = "V1:Hrec_hoft_16384Hz"
SPAN = (Fraction(G), Fraction(G + 4))


def noise(n: int, seed: int = 0) -> array[float]:
    """Noise at the level of recorded strain; every digit of a double is in use."""
    generator = random.Random(seed)
    return array("d", [generator.gauss(0, 1e-21) for _ in range(n)])


def channel(*pieces: tuple[Fraction | int, int], name: str = CHANNEL, rate: float = RATE) -> Channel:
    return Channel(name, "V1", rate, [Piece(Fraction(t0).as_integer_ratio(), n) for t0, n in pieces])


@pytest.fixture
def process(tmp_path):
    h5py = pytest.importorskip("h5py")
    assert h5py
    writer = Hdf5Process(str(tmp_path))
    yield writer
    writer.close()


def test_layouts_and_their_attributes(process):
    import h5py

    first, second = noise(RATE * 2), noise(RATE, 1)
    blocks = [first.tobytes(), second.tobytes()[:800], second.tobytes()[800:]]
    one = channel((G + Fraction(1, 2), RATE * 2))
    split = channel((G, RATE * 2), (G + 3, RATE))

    path = process.write("gwpy", SPAN, [one], blocks[:1])
    with h5py.File(path) as file:
        data = file[CHANNEL]
        assert data[()].tobytes() == first.tobytes()
        assert dict(data.attrs) == {
            "x0": G + 0.5, "dx": 1 / RATE, "xunit": "s", "unit": "strain", "name": CHANNEL, "channel": CHANNEL,
        }  # fmt: skip
    with h5py.File(process.write("gwpy", SPAN, [split], blocks)) as file:
        assert list(file[CHANNEL]) == ["0", "1"]
        assert (file[f"{CHANNEL}/1"].attrs["x0"], file[f"{CHANNEL}/1"][()].tobytes()) == (G + 3, second.tobytes())
    with h5py.File(process.write("dtvirgo", SPAN, [one], blocks[:1])) as file:
        data = file[f"{G}/{CHANNEL}"]
        assert dict(data.attrs) == {"t0": G + 0.5, "sample_rate": RATE}
    with h5py.File(process.write("pycbc", SPAN, [one], blocks[:1])) as file:
        assert file["data"] == file[CHANNEL]
        assert dict(file["data"].attrs) == {"start_time": G + 0.5, "delta_t": 1 / RATE}
    with h5py.File(process.write("gwosc", SPAN, [split], blocks)) as file:
        values = file["strain/Strain"][()]
        assert values[: RATE * 2].tobytes() + values[RATE * 3 :].tobytes() == b"".join(blocks)
        assert (values != values).sum() == RATE
        assert list(file["quality/simple/DQmask"][()]) == [1, 1, 0, 1]
        assert file["meta/UTCstart"][()] == b"2015-09-14T09:50:28"
    with h5py.File(process.write("gwosc", SPAN, [one], blocks[:1])) as file:  # the first second is there by half
        assert list(file["quality/simple/DQmask"][()]) == [0, 1, 0, 0]
        assert (file["strain/Strain"].attrs["Xstart"], file["strain/Strain"].shape) == (G, (RATE * 4,))


def test_the_same_request_makes_the_same_bytes(process):
    samples = noise(RATE).tobytes()
    for layout in ("gwpy", "gwosc", "dtvirgo", "pycbc"):
        first = process.write(layout, SPAN, [channel((G, RATE))], [samples]).read_bytes()
        process.close()  # another process, a little later
        assert process.write(layout, SPAN, [channel((G, RATE))], [samples]).read_bytes() == first


def test_what_cannot_be_written_says_why_and_leaves_no_file(process, tmp_path):
    block = noise(RATE).tobytes()
    two = [channel((G, RATE)), channel((G, RATE), name="V1:Other")]
    with pytest.raises(BadRequest, match="layout gwosc holds one channel"):
        process.write("gwosc", SPAN, two, [block, block])
    with pytest.raises(BadRequest, match="name already exists"):
        process.write("gwpy", SPAN, [two[0], two[0]], [block, block])

    def damaged():
        yield block[:100]
        raise SegmentDamaged("a file is not what was stored")

    with pytest.raises(SegmentDamaged):
        process.write("gwpy", SPAN, two, damaged())
    process.write("gwpy", SPAN, two, [block, block]).unlink()  # a failure does not stand in the way of the next
    assert os.listdir(tmp_path) == []
    tmp_path.rmdir()
    with pytest.raises(StorageFailed, match="writing HDF5"):
        process.write("gwpy", SPAN, two, [block, block])


def test_a_process_that_hangs_is_killed_and_an_idle_one_ends(tmp_path):
    pytest.importorskip("h5py")
    writer = Hdf5Process(str(tmp_path), timeout=0.5)

    def endless():
        yield b""
        assert writer._process is not None
        writer._process.wait(60)  # samples that never come

    try:
        with pytest.raises(Busy, match="not written within"):
            writer.write("gwpy", SPAN, [channel((G, RATE))], endless())
        writer = Hdf5Process(str(tmp_path), idle=0.05)
        writer.write("gwpy", SPAN, [channel((G, RATE))], [noise(RATE).tobytes()])
        process, timer = writer._process, writer._idle_timer
        assert process is not None
        assert timer is not None
        timer.join()
        assert process.poll() is not None
        assert writer._process is None
    finally:
        writer.close()


def test_without_h5py_the_answer_says_what_to_install(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(NotAcceptable, match="pip install h5py"):
        Hdf5Process().write("gwpy", SPAN, [], [])


READ_HDF5 = """
from gwpy.timeseries import StateVector, TimeSeries, TimeSeriesDict
def told(series):
    return [series.value.tobytes().hex(), float(series.t0.value), float(series.sample_rate.value), str(series.unit)]
result["gwpy"] = told(TimeSeries.read(given["gwpy"]))
span = {"start": given["start"] + 1, "end": given["start"] + 2}
result["named"] = told(TimeSeries.read(given["gwpy"], given["channel"], **span))
result["dict"] = told(TimeSeriesDict.read(given["gwpy"], [given["channel"]])[given["channel"]])
result["split"] = told(TimeSeries.read(given["split"], given["channel"] + "/1"))
gwosc = TimeSeries.read(given["gwosc"], format="hdf5.gwosc")
result["gwosc"] = [gwosc.value[:len(gwosc) // 2].tobytes().hex(), float(gwosc.t0.value), float(gwosc.sample_rate.value)]
result["name"] = gwosc.name
state = StateVector.read(given["gwosc"], format="hdf5.gwosc")
result["state"] = [int(bit) for bit in state.value]
"""


@pytest.mark.parametrize("client", [pytest.param(name, marks=needs_client(name)) for name in ("gwpy4", "gwpy3")])
def test_gwpy_reads_hdf5(process, tmp_path, client):
    samples, more = noise(RATE * 2), noise(RATE, 1)
    split = channel((G, RATE * 2), (G + 3, RATE))
    files = {
        "gwpy": process.write("gwpy", SPAN, [channel((G, RATE * 2))], [samples.tobytes()]),
        "split": process.write("gwpy", SPAN, [split], [samples.tobytes(), more.tobytes()]),
        "gwosc": process.write("gwosc", SPAN, [split], [samples.tobytes(), more.tobytes()]),
    }
    given = {"channel": CHANNEL, "start": G, **{name: str(path) for name, path in files.items()}}
    result = run_client(client, READ_HDF5, tmp_path, given)
    whole = samples.tobytes().hex()
    assert result == {
        "gwpy": [whole, G, RATE, "strain"],
        "named": [samples[RATE:].tobytes().hex(), G + 1, RATE, "strain"],
        "dict": [whole, G, RATE, "strain"],
        "split": [more.tobytes().hex(), G + 3, RATE, "strain"],
        "gwosc": [whole, G, RATE],
        "name": "Strain" if client == "gwpy3" else CHANNEL,
        "state": [1, 1, 0, 1],
    }


READ_GWF = """
import gwframe
from gwpy.timeseries import TimeSeries
for path, channel in given:
    cpp = gwframe.read(path, channel)
    result[f"{path} {channel} frameCPP"] = [cpp.array.tobytes().hex(), cpp.start, cpp.sample_rate, cpp.unit]
    lal = TimeSeries.read(path, channel, format="gwf.lalframe")
    rate = float(lal.sample_rate.value)
    result[f"{path} {channel} FrameL"] = [lal.value.tobytes().hex(), float(lal.t0.value), rate, str(lal.unit)]
"""


@needs_client("gwpy4")
def test_frame_libraries_read_gwf(tmp_path):
    samples, slow = noise(RATE * 2 + 1), noise(50, 1)
    files = {
        "V-A-1126259446-3.gwf": gwf.write([("V1:A", Fraction(G), RATE, samples), ("V1:B", Fraction(G), 25.0, slow)]),
        "V-A-1126259446-2.gwf": gwf.write([("V1:A", Fraction(G), RATE, samples[: 2 * RATE])], compress=True),
        "half.gwf": gwf.write([("V1:A", G + Fraction(1, 2), RATE, samples)]),
        "grid.gwf": gwf.write([("V1:A", G + Fraction(3, 16384), 16384, samples)]),  # between nanoseconds
    }
    for name, file in files.items():
        (tmp_path / name).write_bytes(file)
    first, second, half, grid = files
    expected = {
        (first, "V1:A"): (samples, G, RATE),
        (first, "V1:B"): (slow, G, 25),
        (second, "V1:A"): (samples[: 2 * RATE], G, RATE),
        (half, "V1:A"): (samples, G + 0.5, RATE),
        (grid, "V1:A"): (samples, G + 0.000183, 16384),
    }
    result = run_client("gwpy4", READ_GWF, tmp_path, list(expected))
    assert len(result) == 2 * len(expected)
    for (path, name), (vector, t0, rate) in expected.items():
        for library in ("frameCPP", "FrameL"):
            found, start, sample_rate, unit = result[f"{path} {name} {library}"]
            assert (found, sample_rate, unit) == (vector.tobytes().hex(), rate, "strain")
            assert start == pytest.approx(t0, abs=1e-6, rel=0)


WRITE_GWF = """
import gwframe, numpy
from gwpy.timeseries import TimeSeries
samples = numpy.random.default_rng(1).normal(0, 1e-21, 8192)
values = {"V1:A": samples, "V1:I": numpy.arange(-256, 256, dtype="i4"), "V1:F": samples[:256].astype("f4")}
rates = {"V1:A": 2048, "V1:I": 128, "V1:F": 64}
for kind in ("proc", "adc", "sim"):
    for compression in (0, 1):
        options = {"name": "V1", "frame_spec": 8, "compression": compression, "channel_type": kind}
        gwframe.write(f"{kind}{compression}.gwf", values, start=given + 0.5, sample_rate=rates, **options)
gwframe.write("six.gwf", values, start=given + 0.5, sample_rate=rates, name="V1", frame_spec=6, compression=1)
series = TimeSeries(samples, t0=given, sample_rate=2048, name="V1:A", channel="V1:A")
series.write("lal.gwf", format="gwf.lalframe")
gwframe.write("other.gwf", values, start=given, sample_rate=rates, name="V1", frame_spec=8, compression=6)
result.update({name: vector.astype("f8").tobytes().hex() for name, vector in values.items()})
"""


@needs_client("gwpy4")
def test_gwclient_reads_what_frame_libraries_write(tmp_path):
    pytest.importorskip("numpy", reason="needs the client's packages: make .venv/.extras")
    from gwclient.sources import frames

    written = run_client("gwpy4", WRITE_GWF, tmp_path, G)
    rates = {"V1:A": 2048, "V1:I": 128, "V1:F": 64}
    expected = [(f"{kind}{n}", name, G + 0.5) for kind in ("proc", "adc", "sim") for n in (0, 1) for name in written]
    for file, name, start in [*expected, ("lal", "V1:A", G), ("six", "V1:A", G + 0.5), ("six", "V1:I", G + 0.5)]:
        samples, t0, interval = frames.read(tmp_path / f"{file}.gwf", name)
        assert samples.astype("f8").tobytes().hex() == written[name]
        assert (float(t0), 1 / interval) == (start, rates[name])
    with pytest.raises(frames.Unsupported, match="compression"):
        frames.read(tmp_path / "other.gwf", "V1:I")
