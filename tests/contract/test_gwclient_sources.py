"""The sources of gwclient: right samples, right times and right rates, or an error that says what to do."""

from __future__ import annotations

import json
import subprocess
import sys
from fractions import Fraction
from math import nan

import pytest

from tests.support import ROOT

numpy = pytest.importorskip("numpy", reason="needs the client's packages: make .venv/.extras")
h5py = pytest.importorskip("h5py", reason="needs the client's packages: make .venv/.extras")

from gwclient.errors import NoData  # noqa: E402
from gwclient.sources import Strain, from_file  # noqa: E402
from gwclient.upload import Segments  # noqa: E402

T0 = 1126259446


def series(path, name="V1:Hrec", data=(1.0, 2.0, 3.0), **attributes):
    """An HDF5 file with one dataset."""
    with h5py.File(path, "w") as file:
        dataset = file.create_dataset(name, data=numpy.asarray(data))
        dataset.attrs.update(attributes)
    return path


def table(path, rate, n, decimals, t0=Fraction(T0), header=""):
    """A text file with two columns, its times with so many decimals."""
    lines = (f"{float(t0 + Fraction(i, rate)):.{decimals}f},{i}e-21\n" for i in range(n))
    path.write_text(header + "".join(lines))
    return path


# -- HDF5 -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("unit", "x0", "dx"),
    [
        ("s", T0, 2.0**-12), ("ms", T0 * 1000, 2.0**-12 * 1000), ("us", T0 * 10**6, 1e6 / 4096),
        ("min", T0 / 60, 1 / 245760),
    ],
)  # fmt: skip
def test_times_are_converted_from_the_unit_of_the_file(unit, x0, dx, tmp_path):
    strain = from_file(series(tmp_path / "a.hdf5", x0=x0, dx=dx, xunit=unit))
    assert (strain.rate, float(strain.t0)) == (4096, T0)


def test_a_spectrum_is_refused(tmp_path):
    with pytest.raises(NoData, match="'Hz', which is no unit of time"):
        from_file(series(tmp_path / "a.hdf5", x0=0.0, dx=1.0, xunit="Hz"))


def test_gwpy_s_own_files_with_other_units_are_read_as_gwpy_reads_them(tmp_path):
    timeseries = pytest.importorskip("gwpy.timeseries", reason="needs gwpy: make .venv/.extras", exc_type=ImportError)
    from astropy import units

    written = timeseries.TimeSeries([1.0, 2.0], x0=T0 * 1000 * units.ms, dx=250 * units.ms, name="V1:Hrec")
    written.write(str(tmp_path / "a.hdf5"), path="V1:Hrec")
    strain = from_file(tmp_path / "a.hdf5")
    assert (strain.t0, strain.rate) == (T0, 4)


def test_seconds_that_gwpy_labelled_milliseconds_are_refused(tmp_path):
    """gwpy takes `t0=1126259446, dt=1 ms` for a start at 1126259446 ms."""
    with pytest.raises(NoData, match="write the file with dt in seconds"):
        from_file(series(tmp_path / "a.hdf5", x0=float(T0), dx=1.0, xunit="ms"))


@pytest.mark.parametrize(
    "attributes",
    [
        {"x0": T0, "dx": 0.25}, {"t0": T0, "sample_rate": 4.0}, {"start_time": T0, "delta_t": 0.25},
        {"x0": T0, "dx": 0.25, "t0": T0, "sample_rate": 4},
    ],
)  # fmt: skip
def test_the_layouts_of_the_field_are_read(attributes, tmp_path):
    strain = from_file(series(tmp_path / "a.h5", "evt/V1:Hrec_hoft_16384Hz", **attributes))
    assert (strain.t0, strain.rate, strain.detector, strain.channel) == (T0, 4, "V1", "V1:Hrec_hoft_16384Hz")
    assert strain.samples.tolist() == [1.0, 2.0, 3.0]


def test_a_channel_is_chosen_with_and_without_its_group(tmp_path):
    path = series(tmp_path / "a.h5", "evt/V1:A", t0=T0, sample_rate=4)
    with h5py.File(path, "a") as file:
        file.create_dataset("evt/V1:B", data=[7.0]).attrs.update({"t0": T0, "sample_rate": 8})
    assert from_file(path, channel="V1:B").rate == 8
    assert from_file(path, channel="evt/V1:B").rate == 8
    with pytest.raises(NoData, match="among evt/V1:A, evt/V1:B"):
        from_file(path)


def test_a_file_without_strain_is_told_which_attributes_were_looked_for(tmp_path):
    with pytest.raises(NoData, match=r"`x0` and `dx`; `t0` and `sample_rate`; `start_time` and `delta_t`"):
        from_file(series(tmp_path / "a.h5", gps=T0))


@pytest.mark.parametrize(
    "attributes", [{"t0": T0, "sample_rate": 0}, {"x0": T0, "dx": -1.0}, {"x0": nan, "dx": 1.0}, {"x0": "now", "dx": 1}]
)
def test_times_that_are_none_are_refused(attributes, tmp_path):
    with pytest.raises(NoData):
        from_file(series(tmp_path / "a.h5", **attributes))


# -- exact samples --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "value"),
    [("i8", 2**53 + 1), ("i8", 2**63 - 1), ("i8", -(2**53) - 1), ("u8", 2**64 - 1), ("u8", 2**53 + 1)],
)
def test_integers_that_no_float64_equals_are_refused(kind, value, tmp_path):
    with pytest.raises(NoData, match=f"sample 1 is {value}, which no float64 equals"):
        from_file(series(tmp_path / "a.h5", data=numpy.array([0, value], kind), x0=T0, dx=1.0))


@pytest.mark.parametrize(
    ("kind", "value"), [("i8", 2**53), ("i8", -(2**63)), ("u8", 2**63), ("i4", 2**31 - 1), ("f4", 0.1), (">f8", 0.1)]
)
def test_numbers_that_a_float64_equals_are_taken(kind, value, tmp_path):
    data = numpy.array([0, value], kind)
    strain = from_file(series(tmp_path / "a.h5", data=data, x0=T0, dx=1.0))
    assert strain.samples.dtype == "=f8"
    assert strain.samples[1].item() == data[1].item()


def test_longer_floats_are_refused_where_they_say_more():
    if numpy.finfo("longdouble").bits == 64:
        pytest.skip("no longer floats on this machine")
    with pytest.raises(NoData, match="no float64 equals"):
        Strain.of(numpy.array([1, 1 / numpy.longdouble(3)]), Fraction(T0), Fraction(4), "", "")
    assert numpy.isnan(Strain.of(numpy.array([nan], "longdouble"), Fraction(T0), Fraction(4), "", "").samples[0])


# -- windows and gaps -----------------------------------------------------------------------------------------


def test_a_window_of_decimal_seconds_is_exact():
    """0.1 as a float is a little more than 1/10: one sample too many."""
    strain = Strain.of(numpy.arange(1000.0), Fraction(T0), Fraction(1000), "V1", "")
    tenth = Fraction("0.1")
    assert len(strain.around(T0 + Fraction("0.5"), tenth, tenth).samples) == 200


def test_the_command_takes_decimal_seconds_exactly(tmp_path):
    from gwclient.arguments import parser

    options = parser({"INF": "0.1"}).parse_args(["stream", "--sup", "0.3"])
    assert (options.inf, options.sup) == (Fraction(1, 10), Fraction(3, 10))


GAPPED = [1.0, 2.0, nan, nan, 5.0, 6.0, 7.0, float("inf"), 9.0]


def test_gaps_are_refused_by_place_and_skipped_on_request():
    strain = Strain.of(numpy.array(GAPPED), Fraction(100), Fraction(2), "V1", "")
    with pytest.raises(NoData) as refused:
        strain.finite_parts()
    assert "V1 was not observing between GPS 101.0 and 102.0, between GPS 103.5 and 104.0 (3 of 9" in str(refused.value)
    assert "--gaps skip" in str(refused.value)
    parts = strain.finite_parts(skip_gaps=True)
    assert [(part.t0, part.samples.tolist()) for part in parts] == [
        (100, [1.0, 2.0]), (102, [5.0, 6.0, 7.0]), (104, [9.0]),
    ]  # fmt: skip


@pytest.mark.parametrize("samples", [[], [nan, nan]])
def test_nothing_finite_is_refused_in_either_case(samples):
    strain = Strain.of(numpy.array(samples, float), Fraction(100), Fraction(2), "V1", "")
    with pytest.raises(NoData):
        strain.finite_parts(skip_gaps=True)


def test_segments_never_reach_over_a_gap():
    parts = Strain.of(numpy.array(GAPPED), Fraction(100), Fraction(2), "V1", "").finite_parts(skip_gaps=True)
    segments = Segments(parts, 2)
    bodies = [json.loads(segments.body(number)) for number in range(segments.count)]
    assert [(body["t"], body["h"]) for body in bodies] == [
        ([100.0, 0.5], [1.0, 2.0]), ([102.0, 0.5], [5.0, 6.0]), ([103.0, 0.5], [7.0]), ([104.0, 0.5], [9.0]),
    ]  # fmt: skip
    assert len({segments.key(number, "run") for number in range(segments.count)}) == 4


# -- text -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rate", [4, 50, 1000, 1024, 3000, 4096, 10_000, 16_384])
@pytest.mark.parametrize("t0", [Fraction(T0), T0 + Fraction(7, 4096), Fraction(0)])
def test_rounded_times_give_the_rate_that_they_were_rounded_from(rate, t0, tmp_path):
    strain = from_file(table(tmp_path / "a.csv", rate, 1000, 6, t0))
    assert strain.rate == rate
    if rate in (4096, 16_384):  # then the start is on the grid of multiples of 1/rate
        assert strain.t0 == t0


@pytest.mark.parametrize("rate", [4096, 16_384])
def test_a_power_of_two_is_meant_where_few_times_fit_other_whole_numbers_as_well(rate, tmp_path):
    assert from_file(table(tmp_path / "a.csv", rate, 30, 6)).rate == rate


@pytest.mark.parametrize("decimals", [6, 9])
def test_a_rate_that_is_not_whole_stays_so(decimals, tmp_path):
    strain = from_file(table(tmp_path / "a.csv", Fraction("4096.3"), 20_000, decimals))
    assert float(strain.rate) == pytest.approx(4096.3, rel=1e-6)
    assert strain.rate.denominator > 1


def test_a_header_line_is_skipped(tmp_path):
    strain = from_file(table(tmp_path / "a.csv", 4, 3, 2, header="# made by hand\nGPS,strain\n"))
    assert (strain.t0, strain.rate, strain.samples.tolist()) == (T0, 4, [0.0, 1e-21, 2e-21])
    (tmp_path / "b.txt").write_text("time strain\n100.0 1\n100.5 2\n")
    assert from_file(tmp_path / "b.txt").rate == 2


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("GPS,strain\nunit,unit\n100.0,1\n", "could not convert"),
        ("100.00,1\n100.10,2\n100.14,3\n100.30,4\n", "not evenly spaced"),
        ("100.0,1\n99.5,2\n", "do not increase"),
        ("100.0,1\nnan,2\n", "no numbers"),
        ("100.000,1\n100.001,2\n", "choose with --sample-rate"),
        ("1\n2\n", "--t0 and --sample-rate"),
        ("", "no numbers"),
        ("1,2,3\n", "two columns"),
    ],
)
def test_a_table_that_is_no_strain_is_refused(content, words, tmp_path):
    (tmp_path / "a.csv").write_text(content)
    with pytest.raises(NoData, match=words):
        from_file(tmp_path / "a.csv")


def test_a_rate_that_is_given_settles_it(tmp_path):
    assert from_file(table(tmp_path / "a.csv", 1000, 2, 3), rate=Fraction(1000)).rate == 1000


def test_reading_says_nothing_on_standard_error(tmp_path):
    """numpy warns of files without numbers; gwclient says it in its own words."""
    (tmp_path / "a.txt").write_text("# nothing\n")
    command = [sys.executable, "-m", "gwclient", "stream", "--file", str(tmp_path / "a.txt")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stderr.count("\n")) == (6, 1)
