"""The field's clients, unmodified, against a running store: recorded strain with a gap, bit for bit."""

from __future__ import annotations

import hashlib
import io
import json
import subprocess
import urllib.request
from array import array
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from shared.strain.formats.gwf import Series, size
from tests.support import ROOT
from tests.support.extras import STRAIN
from tests.support.field_clients import VENVS, needs_client, python, run_client
from tests.support.servers import Store, http

pytest.importorskip("h5py", reason="needs h5py: make .venv/.extras")

G = 1126259446
HREC, SLOW = "V1:Hrec_hoft_16384Hz", "V1:Hrec_hoft_4096Hz"
TAG = "V1_Hrec_hoft_16384Hz"
OPEN = "L1:STRAIN"
RATES = {HREC: 16384, SLOW: 4096, OPEN: 4096}


@pytest.fixture(scope="module")
def recorded() -> array[float]:
    """Thirty-two seconds of L1 around GW150914 at 4096 Hz; four of them are sent as eight at 16384 Hz, too."""
    import h5py

    (path,) = STRAIN.glob("L-L1_LOSC_4*.hdf5") if STRAIN.is_dir() else [None]
    if path is None:
        pytest.skip(f"needs recorded strain in {STRAIN}")
    with h5py.File(path) as file:
        return array("d", file["strain/Strain"][()].tobytes())


@pytest.fixture(scope="module")
def strain(recorded) -> dict[str, dict[float, array[float]]]:
    """What is stored: of each channel the stretches, by the GPS time of their first samples."""
    return {
        HREC: {G: recorded[: 16384 * 4], G + 6.5: recorded[16384 * 4 : 16384 * 8]},
        SLOW: {G: recorded[: 4096 * 20], G + 22: recorded[4096 * 22 :]},
        OPEN: {G: recorded},
    }


@pytest.fixture(scope="module")
def server(tmp_path_factory, strain):
    """A store whose strain arrived in pieces: out of order, twice in parts, in an archive and in the open batch."""
    with Store("embedded", tmp_path_factory.mktemp("field-clients")) as store:

        def send(segment: dict[str, Any]) -> None:
            assert store.request("POST", "/sendF", json.dumps(segment)).status == 201

        late = []
        for channel, stretches in strain.items():
            rate = RATES[channel]
            for t0, samples in stretches.items():
                for first in range(0, len(samples), rate):
                    piece = samples[max(first - 10, 0) : first + rate]
                    body = {"h": list(piece), "t": [t0 + max(first - 10, 0) / rate, 1 / rate], "channel": channel}
                    if first == 2 * rate:
                        late.append(body)
                    else:
                        send(body)
            if channel == HREC:
                assert store.cleanall().status == 201
        for body in late:
            send(body)
        yield store.url("/").rstrip("/")


def fetch(url: str) -> bytes:
    with urllib.request.urlopen(url, timeout=30) as answer:
        return answer.read()


def digest(samples: array[float]) -> str:
    return hashlib.sha256(samples.tobytes()).hexdigest()


PRELUDE = """
import hashlib, os
S, G, HREC, SLOW, TAG = (given[name] for name in ("S", "G", "HREC", "SLOW", "TAG"))
def told(series):
    content = hashlib.sha256(series.value.astype("<f8").tobytes()).hexdigest()
    return [content, float(series.t0.value), float(series.sample_rate.value)]
def refused(call):
    try:
        call()
    except Exception as error:
        return str(error)
    return ""
from gwpy.timeseries import StateVector, TimeSeries, TimeSeriesDict
"""

OPEN_DATA = """
fetch = TimeSeries.fetch_open_data
result["detector"] = told(fetch("L1", G, G + 32, host=S))
result["fraction"] = told(fetch("V1", G + 1.25, G + 2.5, host=S))
result["dataset"] = told(fetch("V1", G, G + 4, host=S, sample_rate=16384, dataset=TAG))
result["mask"] = [int(bit) for bit in StateVector.fetch_open_data("V1", G + 1, G + 4, host=S).value]
result["gap"] = refused(lambda: fetch("V1", G + 18, G + 24, host=S))
"""


def given(server: str) -> dict[str, Any]:
    return {"S": server, "G": G, "HREC": HREC, "SLOW": SLOW, "TAG": TAG}


@pytest.mark.parametrize("client", [pytest.param(name, marks=needs_client(name)) for name in ("gwpy4", "gwpy3")])
def test_open_data(server, strain, recorded, client, tmp_path):
    result = run_client(client, PRELUDE + OPEN_DATA, tmp_path, given(server))
    assert result.pop("gap")
    assert result == {
        "detector": [digest(recorded), G, 4096],
        "fraction": [digest(strain[SLOW][G][5120:10240]), G + 1.25, 4096],
        "dataset": [digest(strain[HREC][G]), G, 16384],
        "mask": [1, 1, 1],
    }


GWPY4 = """
result["by channel"] = told(TimeSeries.fetch_open_data(HREC, G, G + 4, host=S, sample_rate=16384))

ask = f"{S}/strain?channel={HREC}&start={G + 0.25}&end={G + 3.7}"
result["hdf5"] = told(TimeSeries.read(f"{ask}&format=hdf5"))
result["csv"] = told(TimeSeries.read(f"{ask}&format=csv", format="csv"))
result["several"] = sorted(TimeSeriesDict.read(f"{ask}&format=hdf5", [HREC]))
gaps = f"{S}/strain?channel={SLOW}&start={G}&end={G + 32}&format=hdf5"
result["nan"] = int((lambda values: (values != values).sum())(TimeSeries.read(f"{gaps}&gaps=nan").value))
result["split"] = told(TimeSeries.read(f"{gaps}&gaps=split", f"{SLOW}/1"))
masked = f"{gaps}&gaps=nan&layout=gwosc"
result["mask"] = [int(bit) for bit in StateVector.read(masked, format="hdf5.gwosc").value]

import gwdatafind
result["ping"] = gwdatafind.ping(host=S)["api_versions"]
result["observatories"] = sorted(gwdatafind.find_observatories(host=S))
result["types"] = sorted(gwdatafind.find_types("V", host=S))
result["times"] = [list(span) for span in gwdatafind.find_times("V", TAG, host=S)]
result["latest"] = gwdatafind.find_latest("V", TAG, host=S, urltype="http")
result["url"] = gwdatafind.find_url(f"V-{TAG}-{G + 1}-2.hdf5", host=S, urltype="http")
urls = gwdatafind.find_urls("V", TAG, G, G + 4, ext="hdf5", host=S)
result["urls"] = told(TimeSeries.read(urls, HREC, start=G, end=G + 4))

from gwpy.segments import DataQualityFlag, SegmentList
flag = DataQualityFlag.query("V1:Hrec_hoft_4096Hz-AVAILABLE:1", G, G + 32, host=S)
result["flag"] = [[[float(a), float(b)] for a, b in flag.known], [[float(a), float(b)] for a, b in flag.active]]
segments = SegmentList.read(f"{S}/coverage?channel={HREC}&format=segwizard", format="segwizard")
result["segwizard"] = [[float(a), float(b)] for a, b in segments]
read = DataQualityFlag.read(f"{S}/coverage?channel={HREC}&format=flag", format="json")
result["json flag"] = [[float(a), float(b)] for a, b in read.active]

os.environ["GWDATAFIND_API"] = "ldr"
"""


@needs_client("gwpy4")
def test_gwpy_and_the_clients_that_it_uses(server, strain, tmp_path):
    result = run_client("gwpy4", PRELUDE + GWPY4, tmp_path, given(server))
    part = [digest(strain[HREC][G][4096 : -(-37 * 16384 // 10)]), G + 0.25, 16384]
    slow = [[G, G + 20], [G + 22, G + 32]]
    exact = [[G, G + 4], [G + 6.5, G + 10.5]]
    assert result == {
        "by channel": [digest(strain[HREC][G]), G, 16384],
        "hdf5": part,
        "csv": part,
        "several": [HREC],
        "nan": 2 * 4096,
        "split": [digest(strain[SLOW][G + 22]), G + 22, 4096],
        "mask": [1] * 20 + [0] * 2 + [1] * 10,
        "ping": ["v1", "ldr"],
        "observatories": ["L", "V"],
        "types": [TAG, "V1_Hrec_hoft_4096Hz"],
        "times": [[G, G + 4], [G + 7, G + 10]],
        "latest": [f"{server}/data/V/{TAG}/V-{TAG}-{G + 7}-3.gwf"],
        "url": [f"{server}/data/V/{TAG}/V-{TAG}-{G + 1}-2.hdf5"],
        "urls": [digest(strain[HREC][G]), G, 16384],
        "flag": [[[G, G + 32]], slow],
        "segwizard": exact,
        "json flag": exact,
    }


@needs_client("gwpy4")
def test_gwpy_finds_frames_by_one_variable(server, strain, tmp_path):
    script = f"{PRELUDE}result['get'] = told(TimeSeries.get(HREC, G, G + 4))"
    environment = {"GWDATAFIND_SERVER": server, "GWPY_CACHE": "1"}
    result = run_client("gwpy4", script, tmp_path, given(server), **environment)
    assert result == {"get": [digest(strain[HREC][G]), G, 16384]}


@needs_client("gwpy4")
@pytest.mark.parametrize("api", ["v1", "ldr"])
def test_gw_data_find(server, api, tmp_path):
    def find(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [str(VENVS / "gwpy4" / "bin" / "gw_data_find"), "-r", server, *arguments]
        env = {"HOME": str(tmp_path), "PATH": "/usr/bin:/bin", "GWDATAFIND_API": api}
        return subprocess.run(command, capture_output=True, text=True, env=env, timeout=60)

    assert "is alive" in find("--ping").stdout
    of = ["-o", "V", "-t", "V1_Hrec_hoft_4096Hz", "-s", str(G + 4), "-e", str(G + 24)]
    listed = find(*of, "-u", "http", "--gaps")
    name = f"{server}/data/V/V1_Hrec_hoft_4096Hz/V-V1_Hrec_hoft_4096Hz"
    assert listed.stdout.split() == [f"{name}-{G}-10.gwf", f"{name}-{G + 10}-10.gwf", f"{name}-{G + 22}-10.gwf"]
    assert listed.returncode == 1
    assert f"{G + 20} {G + 22}" in listed.stderr


@pytest.fixture
def flight(server, tmp_path):
    """The address of Arrow Flight in front of the store."""
    env = {"PYTHONPATH": str(ROOT), "STORE_URL": server, "FLIGHT_LISTEN": "grpc://127.0.0.1:0", "HOME": str(tmp_path)}
    command = [str(python("gwpy4")), "-m", "gwflight"]
    with subprocess.Popen(command, env=env, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield f"grpc://127.0.0.1:{process.stdout.readline().split()[-1]}"
        finally:
            process.terminate()
            assert process.wait(30) == 0


ARRAKIS = """
import arrakis, logging
logging.disable()
client = arrakis.Client(given["flight"])
result["find"] = sorted([c.name, float(c.sample_rate), str(c.data_type)] for c in client.find("V1:.*"))
result["count"] = [client.count(), client.count("V1:Hrec_hoft_4.*"), client.count("V1:.*", min_rate=5000)]
result["regex"] = refused(lambda: client.count("(a+)+$"))
block = client.fetch([HREC, SLOW], start=G, end=G + 11)
masks = {name: block[name].mask for name in (HREC, SLOW)}
result["gaps"] = [int(masks[HREC].sum()), masks[SLOW] is None]
samples = block[HREC].data.compressed()
result["samples"] = hashlib.sha256(samples.astype("<f8").tobytes()).hexdigest()
result["unknown"] = refused(lambda: client.fetch(["V1:Other"], start=G, end=G + 1))
result["whole"] = told(TimeSeries.get(HREC, G, G + 4))
result["gap"] = refused(lambda: TimeSeries.get(SLOW, G + 15, G + 25))
padded = TimeSeries.get(SLOW, G + 15, G + 25, pad=0.0)
result["padded"] = [len(padded), int((padded.value == 0).sum())]
"""


@needs_client("gwpy4")
def test_arrakis(flight, server, strain, tmp_path):
    result = run_client(
        "gwpy4", PRELUDE + ARRAKIS, tmp_path, {**given(server), "flight": flight}, ARRAKIS_SERVER=flight
    )
    assert "in which .* stands for any text" in result.pop("regex")
    assert "there is no channel V1:Other" in result.pop("unknown")
    assert result.pop("gap")
    stored = b"".join(samples.tobytes() for samples in strain[HREC].values())
    assert result == {
        "find": [[HREC, 16384, "float64"], [SLOW, 4096, "float64"]],
        "count": [3, 1, 1],
        "gaps": [3 * 16384, True],
        "samples": hashlib.sha256(stored).hexdigest(),
        "whole": [digest(strain[HREC][G]), G, 16384],
        "padded": [10 * 4096, 2 * 4096],
    }


def test_tools_without_a_client(server, strain, tmp_path):
    numpy = pytest.importorskip("numpy")
    ask = f"{server}/strain?channel={HREC}&start={G}&duration=4"
    vector = numpy.load(io.BytesIO(fetch(f"{ask}&format=npy")))
    assert vector.tobytes() == strain[HREC][G].tobytes()
    for format in ("gwf", "hdf5"):
        whole = fetch(f"{ask}&format={format}")
        assert http.request("HEAD", f"{ask}&format={format}").headers["Content-Length"] == str(len(whole))
        partial = tmp_path / f"strain.{format}"
        partial.write_bytes(whole[:100_001])
        curl(tmp_path, "-C", "-", "-o", str(partial), f"{ask}&format={format}")
        assert partial.read_bytes() == whole
        assert fetch(f"{server}/data/V/{TAG}/V-{TAG}-{G}-4.{format}") == whole
    assert len(fetch(f"{ask}&format=gwf")) == size([Series(HREC, Fraction(G), 16384.0, len(vector))])
    assert json.loads(fetch(ask))["h"] == list(strain[HREC][G])


def curl(folder: Path, *arguments: str) -> None:
    subprocess.run(["curl", "-sSf", *arguments], cwd=folder, check=True, timeout=60)


SIGNED = """
import gwdatafind
from gwpy.timeseries import TimeSeries
S, G, TAG, CHANNEL, token = given
urls = gwdatafind.find_urls("V", TAG, G, G + 2, ext="hdf5", host=S, headers={"Authorization": f"Bearer {token}"})
result["samples"] = TimeSeries.read(urls, CHANNEL, start=G, end=G + 2).value.tolist()
result["urls"] = urls
"""


@needs_client("gwpy4")
def test_signed_urls_are_read_without_credentials(new_store, tmp_path):
    secret, h = "reader-secret-0123456789abcdef0123", [float(k) for k in range(128)]
    (tmp_path / "tokens").write_text(
        f"sha256:{hashlib.sha256(secret.encode()).hexdigest()} reader read\n"
        f"sha256:{hashlib.sha256(b'writer').hexdigest()} writer write\n"
    )
    (tmp_path / "key").write_text("0123456789abcdef" * 4)
    store = new_store("embedded", AUTH_TOKENS=str(tmp_path / "tokens"), URL_SIGNING_KEY=str(tmp_path / "key"))
    body = json.dumps({"h": h, "t": [G, 1 / 64], "channel": "V1:Slow"}).encode()
    assert store.send(body, {"Authorization": "Bearer writer"}).status == 201
    server = store.url("/").rstrip("/")
    result = run_client("gwpy4", SIGNED, tmp_path, [server, G, "V1_Slow", "V1:Slow", secret])
    assert result["samples"] == h
    (url,) = result["urls"]
    plain = "/data/" + url.partition("/data/")[2]
    assert url.startswith(f"{server}/signed/")
    assert http.request("GET", server + plain).status == 401
    assert http.request("HEAD", url).status == 200
    for wrong in (
        url.replace("-2.hdf5", "-1.hdf5"),
        url.replace(plain, "/dumpF"),
        url.replace(plain, "/data/../dumpF"),
    ):
        assert http.request("GET", wrong).status == 401
    assert http.request("GET", f"{server}/api/v1/hdf5/V/V1_Slow/{G},{G + 2}.json").status == 401
