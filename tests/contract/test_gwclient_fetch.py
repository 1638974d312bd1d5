"""gwclient reads strain back: exactly, across interruptions on either side, and with words that help."""

from __future__ import annotations

import array
import asyncio
import contextlib
import fcntl
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from decimal import Decimal
from fractions import Fraction

import pytest

from tests.support import ROOT
from tests.support.builders import segment
from tests.support.checks import wait_for
from tests.support.servers import Store

pytest.importorskip("gwosc", reason="needs the client's packages: make .venv/.extras")
numpy = pytest.importorskip("numpy")

import gwclient  # noqa: E402
from gwclient.errors import NoData, Refused, Unreachable  # noqa: E402

T0, RATE = 1126259446, 16384


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """A store with four seconds of strain, a gap, and two more; and a channel at two rates."""
    with Store("embedded", tmp_path_factory.mktemp("fetch"), forked=True) as store:
        for second in (0, 1, 2, 3, 6, 7):
            body = {"h": SAMPLES[second * RATE : (second + 1) * RATE], "t": [T0 + second, 1 / RATE], "channel": "V1:H"}
            store.stored(json.dumps(body).encode())
            if second == 1:
                assert store.cleanall().status == 201
        for rate in (8, 16):
            store.stored(segment(rate, t0=100.0, dt=1 / rate, channel="L1:TWO"))
        yield store


SAMPLES = numpy.random.default_rng(1).normal(scale=1e-21, size=8 * RATE).tolist()


def environment(**env):
    clean = {k: v for k, v in os.environ.items() if k in ("PATH", "HOME", "LANG", "TMPDIR")}
    return {**clean, "PYTHONPATH": str(ROOT), **env}


def command(*arguments):
    return [sys.executable, "-m", "gwclient", *map(str, arguments)]


def run(*arguments, **env):
    return subprocess.run(command(*arguments), capture_output=True, text=True, timeout=60, env=environment(**env))


def same_bits(a, b):
    return array.array("d", a).tobytes() == array.array("d", b).tobytes()


def read(path):
    from gwclient.sources import from_file

    if path.suffix == ".npy":
        return numpy.load(path)
    if path.suffix == ".json":
        return json.loads(path.read_text())["h"]
    return from_file(path, channel="V1:H" if path.suffix in (".gwf", ".hdf5") else "").samples


def test_a_file_in_each_format_holds_every_bit(alone, tmp_path):
    interval = ("--channel", "V1:H", "--start", f"{T0}.0", "--duration", "3")
    for suffix in ("hdf5", "gwf", "csv", "txt", "npy", "json"):
        path = tmp_path / "new" / f"strain.{suffix}"
        done = run("fetch", *interval, "-o", path, "--url", alone.url("/sendF"))
        assert done.returncode == 0, done.stderr
        assert same_bits(read(path), SAMPLES[: 3 * RATE])
        assert f"{3 * RATE} samples at 16384 Hz from GPS {T0}.0, {path.stat().st_size} bytes" in done.stderr
        assert [p.name for p in path.parent.iterdir()] == [path.name]
        path.unlink()


class Proxy(threading.Thread):
    """Passes connections on to a store, the first ones up to so many bytes of the answer only."""

    def __init__(self, port: int, limits: list[int]) -> None:
        super().__init__(daemon=True)
        self.port, self.limits = port, limits
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.listener.getsockname()[1]}"
        self.requests: list[bytes] = []
        self.start()

    def run(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client = self.listener.accept()[0]
                left = self.limits.pop(0) if self.limits else 1 << 40
                with client, socket.create_connection(("127.0.0.1", self.port)) as server:
                    request = client.recv(1 << 16)
                    self.requests.append(request)
                    server.sendall(request.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
                    while left and (chunk := server.recv(min(1 << 16, left))):
                        client.sendall(chunk)
                        left -= len(chunk)

    def close(self) -> None:
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        self.join()


@pytest.fixture
def proxied(alone):
    """A function: the store behind a proxy that cuts the first answers off."""
    proxies = []

    def start(*limits: int) -> Proxy:
        proxies.append(Proxy(alone.writer.port, list(limits)))
        return proxies[-1]

    yield start
    for proxy in proxies:
        proxy.close()


def test_a_download_goes_on_after_lost_connections(proxied, tmp_path):
    proxy = proxied(100_000, 150_000)
    path = tmp_path / "strain.npy"
    done = run("fetch", "--channel", "V1:H", "--start", T0, "--end", T0 + 4, "-o", path, "--url", proxy.url)
    assert done.returncode == 0, done.stderr
    assert same_bits(numpy.load(path), SAMPLES[: 4 * RATE])
    first, second, third = proxy.requests
    assert b"range: bytes=" not in first.lower()
    assert b"range: bytes=" in second.lower()
    assert b"if-range: " in third.lower()


def test_an_interrupted_command_goes_on_and_other_strain_begins_anew(alone, proxied, tmp_path):
    path = tmp_path / "strain.npy"
    part = tmp_path / "strain.npy.part"
    arguments = ("--channel", "V1:H", "-o", path, "--timeout", "0.1")
    cut = run("fetch", *arguments, "--start", T0, "--end", T0 + 4, "--url", proxied(100_000, *[0] * 50).url)
    assert cut.returncode == 4
    assert "the same command goes on" in cut.stderr
    assert 90_000 < part.stat().st_size < 100_000
    assert not path.exists()
    proxy = proxied()
    done = run("fetch", *arguments[:4], "--start", T0, "--end", T0 + 4, "--url", proxy.url)
    assert done.returncode == 0, done.stderr
    assert "going on after" in done.stderr
    assert f"range: bytes={9}".encode() in proxy.requests[0].lower()
    assert same_bits(numpy.load(path), SAMPLES[: 4 * RATE])
    # What is left of another interval is not mixed with this one.
    assert (
        run("fetch", *arguments, "--start", T0, "--end", T0 + 4, "--url", proxied(100_000, *[0] * 50).url).returncode
        == 4
    )
    assert part.exists()
    done = run("fetch", *arguments[:4], "--start", T0 + 1, "--end", T0 + 3, "--url", alone.url("/strain"))
    assert done.returncode == 0, done.stderr
    assert same_bits(numpy.load(path), SAMPLES[RATE : 3 * RATE])
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


def test_a_text_that_lost_its_end_is_not_taken_for_whole(proxied, tmp_path):
    path = tmp_path / "strain.csv"
    proxy = proxied(60_000)
    done = run("fetch", "--channel", "V1:H", "--start", T0, "--duration", "1", "-o", path, "--url", proxy.url)
    assert done.returncode == 0, done.stderr
    assert len(proxy.requests) == 2
    assert same_bits(read(path), SAMPLES[:RATE])


@pytest.mark.parametrize(("arguments", "code", "says"), [
    (("--channel", "V1:H", "--start", T0, "--duration", "8"), 6,
     ("is not stored: GPS 1126259450.0 to 1126259452.0", "--start 1126259446.0 --end 1126259450.0", "--gaps nan")),
    (("--channel", "V1:H", "--start", "100", "--duration", "1"), 6, ("from 100 to 101", "gwclient coverage")),
    (("--channel", "V1:none", "--start", "100", "--duration", "1"), 6, ("V1:none", "gwclient channels")),
    (("--channel", "L1:TWO", "--start", "100", "--duration", "1"), 5, ("--rate 8, --detector L1 --rate 16",)),
    (("--channel", "V1:H", "--start", "100", "--duration", "9999999"), 5, ("ask for 1024 s at a time",)),
])  # fmt: skip
def test_what_cannot_be_fetched_says_what_would_work(alone, tmp_path, arguments, code, says):
    done = run("fetch", *arguments, "-o", tmp_path / "x.npy", "--url", alone.url("/strain"))
    assert done.returncode == code, done.stderr
    for text in says:
        assert text in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_gaps_are_filled_or_left_out_on_request(alone, tmp_path):
    arguments = ("--channel", "V1:H", "--start", T0, "--duration", "8", "--url", alone.url("/strain"))
    assert run("fetch", *arguments, "--gaps", "nan", "-o", tmp_path / "x.npy").returncode == 0
    found = numpy.load(tmp_path / "x.npy")
    assert numpy.flatnonzero(numpy.isnan(found)).tolist() == list(range(4 * RATE, 6 * RATE))
    assert run("fetch", *arguments, "--gaps", "split", "-o", tmp_path / "x.csv").returncode == 0
    assert len((tmp_path / "x.csv").read_text().splitlines()) == 6 * RATE
    assert run("fetch", *arguments, "-o", tmp_path / "x.xlsx").returncode == 2
    part = tmp_path / "x.npy.part"
    with part.open("ab") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        busy = run("fetch", *arguments, "--gaps", "nan", "-o", tmp_path / "x.npy")
    assert (busy.returncode, "another command" in busy.stderr) == (6, True)


def test_channels_and_coverage_over_all_batches(alone):
    url = ("--url", alone.url("/strain"))
    (row,) = [json.loads(line) for line in run("channels", "V1:*", *url, "-o", "json").stdout.splitlines()]
    assert (row["channel"], row["rate"], row["samples"], row["gaps"]) == ("V1:H", RATE, 6 * RATE, 1)
    assert run("channels", "*", *url, "-o", "name").stdout.split() == ["L1:TWO", "L1:TWO", "V1:H"]
    assert run("channels", "V1:*", "--batch", "1", *url, "-o", "json").stdout.count(str(2 * RATE)) == 1
    done = run("coverage", "--channel", "V1:H", *url, "-o", "json")
    spans = [json.loads(line) for line in done.stdout.splitlines()]
    assert [(span["begin"], span["end"], span["seconds"]) for span in spans] == [(T0, T0 + 4, 4), (T0 + 6, T0 + 8, 2)]
    assert "6.0 s at 16384.0 Hz stored, 1 gap" in done.stderr
    gap = run("coverage", "--channel", "V1:H", "--start", T0 + 3, "--duration", "2", "--gaps", *url, "-o", "json")
    assert [json.loads(line)["begin"] for line in gap.stdout.splitlines()] == [T0 + 4]


# -- Python -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("start", "end"), [
    (T0 + 1, T0 + 2),
    (f"{T0 + 1}.0", Decimal(T0 + 2)),
    (Fraction(T0 * RATE + 1, RATE), Fraction(T0 * RATE + 5000, RATE)),
    (T0 + 1 / 3, Fraction(3 * T0 + 2, 3)),
])  # fmt: skip
def test_python_gets_an_array_with_exact_times(alone, start, end):
    strain = gwclient.fetch("V1:H", start, end, alone.url("/strain"))
    first, stop = (-(-Fraction(str(t)) * RATE // 1) - T0 * RATE for t in (start, end))
    assert (strain.t0, strain.rate) == (Fraction(T0 * RATE + first, RATE), RATE)
    assert (strain.detector, strain.channel) == ("V1", "V1:H")
    assert same_bits(numpy.asarray(strain), SAMPLES[first:stop])
    assert len(strain) == stop - first


def test_python_gets_errors_and_gaps_and_works_in_a_notebook(alone):
    url = alone.url("/strain")
    with pytest.raises(NoData, match="longest piece"):
        gwclient.fetch("V1:H", T0, url=url, duration=8)
    with pytest.raises(NoData, match="no GPS time"):
        gwclient.fetch("V1:H", "now", url=url, duration=8)
    with pytest.raises(Refused, match="--rate 8"):
        gwclient.fetch("L1:TWO", 100, 101, url)
    with pytest.raises(Unreachable):
        gwclient.fetch("V1:H", T0, T0 + 1, "http://127.0.0.1:1", timeout=0.1)
    assert gwclient.fetch("L1:TWO", 100, 101, url, rate=8).rate == 8

    async def cell():
        return gwclient.fetch("V1:H", T0, url=url, duration=8, gaps="zero")

    assert numpy.asarray(asyncio.run(cell()))[4 * RATE : 6 * RATE].any() == numpy.False_


def test_gwpy_takes_it(alone):
    pytest.importorskip("gwpy", reason="needs gwpy: make .venv/.extras")
    code = (
        "import gwclient, sys; s = gwclient.fetch('V1:H', sys.argv[2], url=sys.argv[1], duration=1).to_gwpy(); "
        "print(type(s).__name__, s.t0.value, s.sample_rate.value, s.name, len(s), s.unit)"
    )
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code, alone.url("/strain"), str(T0)],
        capture_output=True, text=True, timeout=120, env=environment(),
    )  # fmt: skip
    assert done.stdout.split() == ["TimeSeries", f"{T0}.0", "16384.0", "V1:H", "16384", "strain"], done.stderr


# -- following ----------------------------------------------------------------------------------------------------


def test_follow_survives_a_store_that_is_killed(new_store):
    store = new_store("embedded")
    url = ("--url", store.url("/sendF"))
    names = [store.stored(segment(4, channel="V1:A"))]
    client = subprocess.Popen(
        command("follow", "--channel", "V1:*", "--after", "gwb0.json", "-o", "json", "--samples", *url),
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment(),
    )  # fmt: skip
    assert client.stdout
    assert client.stderr
    printed, complaints = client.stdout, client.stderr
    lines: list[dict] = []

    def read_lines() -> None:
        for line in printed:
            lines.append(json.loads(line))  # noqa: PERF401 - one by one, because they are waited for

    reading = threading.Thread(target=read_lines)
    reading.start()
    try:
        wait_for(lambda: len(lines) == 1)
        store.writer.kill()
        store.writer.start("/health/readiness")
        names.append(store.stored(segment(4, channel="V1:B")))
        store.stored(segment(4, channel="L1:B"))
        assert store.cleanall().status == 201
        names.append(store.stored(segment(4, channel="V1:A")))
        wait_for(lambda: len(lines) >= 3)
    finally:
        client.send_signal(signal.SIGINT)
        code = client.wait(30)
        reading.join()
        said = complaints.read()
        printed.close()
        complaints.close()
    assert code == 130, said
    assert "trying again" in said
    assert [line["name"] for line in lines] == names
    assert lines[0]["h"] == json.loads(segment(4))["h"]
    bad = run("follow", "--after", "x", *url)
    assert (bad.returncode, "/dumpF" in bad.stderr) == (5, True)
