"""gwclient as people run it: as a process, with real files, against real stores."""

from __future__ import annotations

import array
import contextlib
import hashlib
import http.server
import json
import os
import pty
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from gwclient.errors import WrongState
from gwclient.store import Store as RemoteStore
from tests.support import ROOT
from tests.support.builders import segment
from tests.support.checks import wait_for
from tests.support.extras import STRAIN
from tests.support.ports import free_port
from tests.support.servers import Store

pytest.importorskip("gwosc", reason="needs the client's packages: make .venv/.extras")

RATE, T0 = 4096, 1126259446


@pytest.fixture(scope="module")
def _embedded(tmp_path_factory):
    with Store("embedded", tmp_path_factory.mktemp("embedded")) as store:
        yield store


@pytest.fixture
def store(_embedded):
    """One topology is enough where the client's side is looked at; `services` brings both."""
    assert _embedded.cleanall().status == 201
    return _embedded


@pytest.fixture
def gwclient(tmp_path):
    """Runs the command; its state files lie in the test's folder."""

    def environment(**env):
        clean = {k: v for k, v in os.environ.items() if k in ("PATH", "HOME", "LANG", "TMPDIR")}
        return {**clean, "XDG_STATE_HOME": str(tmp_path / "state"), "PYTHONPATH": str(ROOT), **env}

    def command(*arguments):
        return [sys.executable, "-m", "gwclient", *map(str, arguments)]

    def run(*arguments, **env):
        return subprocess.run(command(*arguments), capture_output=True, text=True, timeout=120, env=environment(**env))

    def start(*arguments):
        return subprocess.Popen(command(*arguments), stderr=subprocess.PIPE, text=True, env=environment())

    vars(run).update(start=start, command=command, environment=environment)
    return run


@pytest.fixture
def strain(tmp_path):
    """(file, samples): real strain where it is present, else made up with the same awkward digits."""
    import h5py
    import numpy

    if STRAIN.is_dir():
        (path,) = STRAIN.glob("L-L1_LOSC_4_V2-*.hdf5")
        with h5py.File(path) as file:
            return path, file["strain/Strain"][()].tolist()
    samples = numpy.random.default_rng(1).normal(scale=1e-21, size=RATE * 8)
    return gwosc_file(tmp_path / "L-L1_GWOSC-1126259446-8.hdf5", samples), samples.tolist()


def gwosc_file(path, samples, detector="L1", t0=T0, rate=RATE):
    """A file in the layout of GWOSC's."""
    import h5py

    with h5py.File(path, "w") as file:
        data = file.create_dataset("strain/Strain", data=samples)
        data.attrs["Xstart"], data.attrs["Xspacing"] = t0, 1 / rate
        file["meta/Detector"] = detector
    return path


def read_back(store):
    """The stored segments in order of GPS time, and their samples joined."""
    segments = sorted(map(json.loads, store.files().values()), key=lambda s: s["t"][0])
    return segments, [h for s in segments for h in s["h"]]


def same_bits(a, b):
    return array.array("d", a).tobytes() == array.array("d", b).tobytes()


# -- every sample exactly once --------------------------------------------------------------------------------


def test_killed_and_started_again_it_goes_on_and_every_bit_arrives_once(services, strain, gwclient):
    path, samples = strain
    arguments = ("stream", "--file", path, "--url", services.url("/streamdata"), "--rate", "20")
    for stored in (20, 60):  # killed twice, at different places
        client = gwclient.start(*arguments)
        wait_for(lambda: services.stat()["n_itm"] > stored or client.poll() is not None, timeout=60)  # noqa: B023
        client.send_signal(signal.SIGKILL)
        assert client.wait() == -signal.SIGKILL
        client.stderr.close()
    done = gwclient(*arguments[:-1], "max")
    assert done.returncode == 0, done.stderr
    assert "going on after" in done.stderr

    segments, back = read_back(services)
    assert services.check_exact()["n_itm"] == -(-len(samples) // 300)
    assert same_bits(back, samples)
    assert [s["t"] for s in segments] == [[T0 + i * 300 / RATE, 1 / RATE] for i in range(len(segments))]
    assert {s["detector"] for s in segments} == {"L1"}
    assert list(services.data.parent.parent.parent.glob("state/**/*.json")) == []


def test_a_store_that_dies_and_comes_back_is_waited_for(new_store, strain, gwclient):
    store = new_store("embedded")
    path, samples = strain
    client = gwclient.start("stream", "--file", path, "--url", store.url("/sendF"), "--rate", "20")
    wait_for(lambda: store.stat()["n_itm"] > 20, timeout=60)
    store.writer.kill()
    time.sleep(0.3)
    store.writer.start("/health/readiness")
    _, said = client.communicate(timeout=120)
    assert client.returncode == 0, said
    assert same_bits(read_back(store)[1], samples)
    store.check_exact()


def test_streaming_again_is_a_new_stream(store, strain, gwclient, tmp_path):
    path, samples = gwosc_file(tmp_path / "a.hdf5", [1.5, 2.5, 3.5]), [1.5, 2.5, 3.5]
    for _ in range(2):
        assert gwclient("stream", "--file", path, "--url", store.url("/sendF"), "--chunk", "2").returncode == 0
    assert store.check_exact()["n_itm"] == 4
    assert sorted(read_back(store)[1]) == sorted(samples * 2)


def test_with_one_in_flight_segments_arrive_in_order_of_time(store, strain, gwclient):
    done = gwclient("stream", "--file", strain[0], "--url", store.url("/sendF"), "--in-flight", "1", "--chunk", "2000")
    assert done.returncode == 0, done.stderr
    times = [entry["t0"] for entry in store.logged()]
    assert times == sorted(times)


def test_float32_is_widened_exactly(store, gwclient, tmp_path):
    import numpy

    samples = numpy.random.default_rng(2).normal(scale=1e-21, size=1000).astype("float32")
    path = gwosc_file(tmp_path / "narrow.hdf5", samples)
    assert gwclient("stream", "--file", path, "--url", store.url("/sendF")).returncode == 0
    assert same_bits(read_back(store)[1], samples.astype(float).tolist())


def test_times_do_not_drift(store, gwclient, tmp_path):
    """0.1 s is no float64: adding it up would be off by the end."""
    path = gwosc_file(tmp_path / "slow.hdf5", [float(i) for i in range(1000)], rate=10)
    assert gwclient("stream", "--file", path, "--url", store.url("/sendF"), "--chunk", "7").returncode == 0
    assert [s["t"][0] for s in read_back(store)[0]] == [T0 + i * 7 / 10 for i in range(143)]


# -- a frozen store -------------------------------------------------------------------------------------------


def test_a_frozen_store_stops_it_and_with_wait_it_waits(services, gwclient, tmp_path):
    path = gwosc_file(tmp_path / "a.hdf5", [float(i) for i in range(1, 900)])
    services.freeze()
    stream = ("stream", "--file", path, "--url", services.url("/streamdata"))
    refused = gwclient(*stream)
    assert refused.returncode == 3
    assert "frozen" in refused.stderr
    assert "Traceback" not in refused.stderr
    client = gwclient.start(*stream, "--wait")
    wait_for(lambda: "waiting" in client.stderr.readline(), timeout=60)
    services.cleanall()
    client.communicate(timeout=120)
    assert client.returncode == 0
    assert read_back(services)[1] == [float(i) for i in range(1, 900)]


class FakeServer:
    """A hand-written stand-in for servers that cannot run here; it answers as `script` says and keeps the bodies."""

    def __init__(self, answer):
        self.bodies: list[tuple[str, bytes]] = []
        server = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                self.reply(*answer(self.path, len(server.bodies)))
                server.bodies.append((self.headers["Idempotency-Key"], body))

            def do_GET(self):
                self.reply(*answer(self.path, 0))

            def reply(self, status, content, headers=()):
                content = content if isinstance(content, bytes) else json.dumps(content).encode()
                self.send_response(status)
                for name, value in headers:
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(content)))
                with contextlib.suppress(ConnectionError):  # a client that was interrupted
                    self.end_headers()
                    self.wfile.write(content)

            def log_message(self, *args):
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *exc):
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


def test_the_answers_of_streamdata_are_understood(gwclient, tmp_path):
    """GlitchflowAPI says CREATED and FROZEN with status 200."""
    script = [
        (503, {"code": "BUSY", "body": "wait"}, [("Retry-After", "1")]),
        (200, {"resp": "FROZEN", "body": "Datastore frozen."}, [("Retry-After", "0")]),
        (502, b"<html>bad gateway</html>"),
    ]

    def answer(path, number):
        assert path == "/streamdata"
        return script[number] if number < len(script) else (200, {"resp": "CREATED", "body": "Written"})

    path = gwosc_file(tmp_path / "a.hdf5", [float(i) for i in range(700)])
    with FakeServer(answer) as server:
        stream = ("stream", "--file", path, "--url", f"{server.url}/streamdata", "--wait", "--in-flight", "1")
        done = gwclient(*stream)
        assert done.returncode == 0, done.stderr
        keys = [key for key, _ in server.bodies]
        assert len(set(keys[:4])) == 1  # the same segment, the same key, until it was taken
        assert len(set(keys)) == 3
        bodies = dict(server.bodies)
        assert [h for body in bodies.values() for h in json.loads(body)["h"]] == [float(i) for i in range(700)]


@pytest.mark.parametrize(
    ("status", "content", "code"),
    [(422, {"detail": "bad"}, 5), (404, b"nothing", 5), (200, b"<html>hello</html>", 5), (500, b"broken", 4)],
)
def test_what_the_store_will_not_take_ends_the_command(status, content, code, gwclient, tmp_path):
    path = gwosc_file(tmp_path / "a.hdf5", [1.0])
    with FakeServer(lambda *_: (status, content)) as server:
        done = gwclient("stream", "--file", path, "--url", f"{server.url}/streamdata", "--patience", "1")
    assert done.returncode == code
    assert str(status) in done.stderr
    assert "Traceback" not in done.stderr


def test_the_command_ends_without_finalizing_the_interpreter(gwclient):
    """A thread of the HTTP library may still release objects then, and the process would be aborted."""
    code = "import atexit; atexit.register(print, 'finalizing'); from gwclient.__main__ import run; run()"
    with FakeServer(lambda *_: (404, b"no")) as server:
        command = [sys.executable, "-c", code, "freeze", "--url", server.url]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, env=gwclient.environment())
    assert (done.returncode, done.stdout) == (5, "")


# -- the state file -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answers", "kept"),
    [
        ([(422, {"detail": "bad"})], False),  # refused for good
        ([(503, {"code": "FROZEN"})], False),
        ([(500, b"broken"), (422, {"detail": "bad"})], True),  # the first attempt may have been carried out
        ([(201, {}), (422, {"detail": "bad"})], True),
    ],
)
def test_a_state_file_stays_only_where_something_may_be_stored(answers, kept, gwclient, tmp_path):
    path = gwosc_file(tmp_path / "a.hdf5", [1.0, 2.0])
    state = tmp_path / "state.json"
    with FakeServer(lambda _, number: answers[number]) as server:
        stream = ("stream", "--file", path, "--url", f"{server.url}/sendF", "--state", state)
        done = gwclient(*stream, "--chunk", "1", "--in-flight", "1")
    assert done.returncode in (3, 5), done.stderr
    assert state.exists() == kept


def test_a_store_that_was_never_reached_leaves_no_state_file(gwclient, tmp_path):
    path = gwosc_file(tmp_path / "a.hdf5", [1.0, 2.0])
    stream = ("stream", "--file", path, "--url", f"127.0.0.1:{free_port()}", "--timeout", "0.2")
    done = gwclient(*stream)
    assert done.returncode == 4
    assert "Connection refused" in done.stderr
    assert not list(tmp_path.rglob("*.json"))


def test_an_interrupted_request_keeps_the_state_file(gwclient, tmp_path):
    """Whether the store holds the segment is not known: the same key has to be sent again."""
    arrived, leave = threading.Event(), threading.Event()

    def answer(*_):
        arrived.set()
        leave.wait(60)
        return 201, {}

    path = gwosc_file(tmp_path / "a.hdf5", [1.0])
    with FakeServer(answer) as server:
        stream = ("stream", "--file", path, "--url", f"{server.url}/sendF", "--state", tmp_path / "state.json")
        client = gwclient.start(*stream)
        assert arrived.wait(60)
        client.send_signal(signal.SIGINT)
        said = client.communicate(timeout=60)[1]
        leave.set()
    assert (client.returncode, "Traceback" in said) == (130, False)
    assert (tmp_path / "state.json").exists()


# -- sources --------------------------------------------------------------------------------------------------


class FakeGwosc(FakeServer):
    """GWOSC's API v2, as far as one event needs it; the real one is not within a test's reach."""

    def __init__(self, data: bytes):
        def answer(path, _):
            route = path.partition("?")[0]
            if route == "/api/v2/event-versions/GW150914":
                return 200, {"name": "GW150914", "gps": 1126259462.4}
            if route == "/api/v2/event-versions/GW150914/strain-files":
                url = f"{self.url}/files/L-L1_GWOSC_4KHZ_R1-1126259446-32.hdf5"
                found = [{"detector": "L1", "gps_start": T0, "duration": 32, "download_url": url}]
                return 200, {"results": found, "next": None, "num_pages": 1}
            if route.startswith("/files/"):
                return 200, data
            if route == "/api/v2/":
                return 200, {}
            return 404, {"detail": "Not found."}

        super().__init__(answer)


def test_open_data_of_an_event_is_streamed(store, gwclient, tmp_path):
    samples = [i * 1e-22 for i in range(32 * 64)]
    data = gwosc_file(tmp_path / "a.hdf5", samples, rate=64).read_bytes()
    with FakeGwosc(data) as gwosc:
        arguments = ("stream", "--gwosc", gwosc.url, "--url", store.url("/sendF"))
        env = {"GWID": "GW150914", "DTCID": "L1", "INF": "13", "SUP": "14.5"}
        done = gwclient(*arguments, **env)
        assert done.returncode == 0, done.stderr
        first = 218  # the first sample at or after 1126259462.4 - 13
        assert T0 + (first - 1) / 64 < 1126259449.4 <= T0 + first / 64
        segments, back = read_back(store)
        assert segments[0]["t"] == [T0 + first / 64, 1 / 64]
        assert back == samples[first : first + int(27.5 * 64)]
        unknown = gwclient(*arguments, "--event", "GW000000")
        assert (unknown.returncode, "GW000000" in unknown.stderr) == (6, True)


def test_a_detector_that_was_not_observing_is_named(gwclient, tmp_path):
    gap = [1.0] * 640 + [float("nan")] * 64 + [1.0] * 1344
    with FakeGwosc(gwosc_file(tmp_path / "a.hdf5", gap, rate=64).read_bytes()) as gwosc:
        done = gwclient("stream", "--event", "GW150914", "--gwosc", gwosc.url, "--sup", "15")
        assert done.returncode == 6
        assert "L1 was not observing between GPS 1126259456.0 and 1126259457.0" in done.stderr


def test_what_lies_between_gaps_is_sent_when_asked_for(store, gwclient, tmp_path):
    samples = [1.0] * 640 + [float("nan")] * 64 + [2.0] * 1344
    path = gwosc_file(tmp_path / "a.hdf5", samples, rate=64)
    stream = ("stream", "--file", path, "--url", store.url("/sendF"))
    refused = gwclient(*stream)
    assert refused.returncode == 6
    assert "between GPS 1126259456.0 and 1126259457.0" in refused.stderr
    assert "--gaps skip" in refused.stderr
    assert store.stat()["n_itm"] == 0
    done = gwclient(*stream, "--gaps", "skip")
    assert done.returncode == 0, done.stderr
    assert "with 1 gap" in done.stderr
    segments, back = read_back(store)
    assert back == [1.0] * 640 + [2.0] * 1344
    assert [s["t"][0] for s in segments] == [
        *(T0 + i * 300 / 64 for i in range(3)), *(T0 + 11 + i * 300 / 64 for i in range(5)),
    ]  # fmt: skip


def test_without_internet_it_says_so(gwclient):
    done = gwclient("stream", "--event", "GW150914", "--gwosc", f"http://127.0.0.1:{free_port()}")
    assert done.returncode == 4
    assert "internet" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_sample_needs_no_internet(store, gwclient):
    pytest.importorskip("gwpy", reason="the sample is inside gwpy's wheel: make .venv/.extras", exc_type=ImportError)
    done = gwclient("stream", "--sample", "--url", store.url("/sendF"))
    assert done.returncode == 0, done.stderr
    segments, back = read_back(store)
    assert len(back) == 16384
    assert (segments[0]["detector"], segments[0]["t"]) == ("V1", [968654552.0, 1 / 16384])


@pytest.mark.parametrize(
    ("name", "content", "options"),
    [
        ("a.txt", "# This file has 4 samples per second\n# starting GPS 1000 duration 1\n0.1\n1e-21\n-3\n", ()),
        ("a.txt", "1000.00 0.1\n1000.25 1e-21\n1000.50 -3\n", ()),
        ("a.csv", "1000.00,0.1\n1000.25,1e-21\n1000.50,-3\n", ()),
        ("a.txt", "0.1\n1e-21\n-3\n", ("--t0", "1000", "--sample-rate", "4")),
    ],
)
def test_text_files_are_read(name, content, options, store, gwclient, tmp_path):
    (tmp_path / name).write_text(content)
    done = gwclient("stream", "--file", tmp_path / name, "--detector", "V1", "--url", store.url("/sendF"), *options)
    assert done.returncode == 0, done.stderr
    ((only,), back) = read_back(store)
    assert (only["t"], only["detector"], back) == ([1000.0, 0.25], "V1", [0.1, 1e-21, -3.0])


@pytest.mark.parametrize(
    "arguments",
    [("--file", "none.hdf5"), ("--file", __file__), ("--file", "none.gwf"), (), ("--sample", "--detector", "K1")],
)
def test_what_cannot_be_read_is_an_error_in_one_line(arguments, gwclient):
    done = gwclient("stream", *arguments)
    assert done.returncode == 6
    assert done.stderr.startswith("gwclient: ")
    assert done.stderr.count("\n") == 1


def test_a_damaged_hdf5_file_and_another_streams_state_are_errors(store, gwclient, tmp_path):
    (tmp_path / "bad.hdf5").write_bytes(b"\x89HDF\r\n\x1a\n and then nothing")
    assert gwclient("stream", "--file", tmp_path / "bad.hdf5").returncode == 6
    (tmp_path / "state.json").write_text('{"stream": "other", "run": "x", "next": 1, "beyond": []}')
    path = gwosc_file(tmp_path / "a.hdf5", [1.0, 2.0])
    stream = ("stream", "--file", path, "--state", tmp_path / "state.json", "--url", store.url("/sendF"))
    assert gwclient(*stream).returncode == 6
    assert store.stat()["n_itm"] == 0
    assert gwclient(*stream, "--restart").returncode == 0


# -- operating ------------------------------------------------------------------------------------------------


def test_operators_ask_and_tell(new_store, gwclient):
    store = new_store("embedded")
    names = [store.stored(segment(n, detector="V1")) for n in (3, 4, 5)]
    url = ("--url", store.url("/streamdata"))  # the URL people stream to serves for everything
    assert gwclient("files", *url).stdout.split() == names
    assert [json.loads(line)["name"] for line in gwclient("log", *url).stdout.splitlines()] == names
    assert json.loads(gwclient("stat", *url).stdout) == {**store.stat(), "dstatus": "OPERATIONAL", "user": "databuf"}
    assert gwclient("freeze", *url, "--user", "airflow", "--token", "t").returncode == 0
    assert store.dstat() == {"dstatus": "FROZEN", "user": "airflow", "token": "t"}
    watched = gwclient("watch", *url, "--until", "frozen").stdout
    assert '"dstatus": "FROZEN"' in watched
    assert '"preproc": {"state": "off", "done": 0, "of": 0}' in watched
    assert "token" not in watched
    assert gwclient("clean", *url).returncode == 0
    assert store.check_exact()["n_itm"] == 0
    assert gwclient("files", *url).stdout == ""
    assert gwclient("log", *url).stdout == ""


def test_a_glitchflow_alone_serves_operators_too(new_store, gwclient):
    """In the split topology its URL knows neither /stat nor /upddsc; freezing goes by its policy."""
    store = new_store("split", upper=True, MAX_SIZE="100")
    url = ("--url", store.url("/streamdata"))
    assert gwclient("freeze", *url).returncode == 3
    names = [store.stored(segment(9))]
    assert gwclient("files", *url).stdout.split() == names
    assert json.loads(gwclient("stat", *url).stdout) == {**store.stat(), "dstatus": "OPERATIONAL"}
    assert gwclient("freeze", *url).returncode == 0
    assert gwclient("freeze", "--policy", *url).returncode == 0
    assert store.dstat()["dstatus"] == "FROZEN"
    assert gwclient("clean", *url).returncode == 0
    assert store.check_exact()["n_itm"] == 0


def test_watch_outlives_a_restart_of_the_store(new_store, gwclient):
    store = new_store("embedded")
    command = gwclient.command("watch", "--url", store.url("/stat"), "--interval", "0.1")
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=gwclient.environment()
    ) as watching:
        try:
            assert watching.stdout
            assert watching.stderr
            assert '"n_itm": 0' in watching.stdout.readline()
            store.stored(segment())
            assert '"n_itm": 1' in watching.stdout.readline()
            store.writer.kill()
            assert "does not answer" in watching.stderr.readline()
            store.writer.start("/health/readiness")
            assert '"n_itm": 1' in watching.stdout.readline()
            store.stored(segment(4))
            assert '"n_itm": 2' in watching.stdout.readline()
            watching.send_signal(signal.SIGINT)
            assert watching.stderr.read() == "gwclient: interrupted\n"
            watching.wait(30)
        finally:
            watching.kill()  # else the end of this block waits for it, whatever has failed
    assert watching.returncode == 130


def test_watch_ends_at_the_state_that_is_waited_for(store, gwclient):
    command = gwclient.command("watch", "--url", store.url("/stat"), "--interval", "0.1", "--until", "1")
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=gwclient.environment()) as watching:
        assert watching.stdout
        assert '"n_itm": 0' in watching.stdout.readline()
        store.stored(segment())
        assert '"n_itm": 1' in watching.stdout.read()
    assert watching.returncode == 0


def test_watch_gives_up_on_a_store_that_stays_away(gwclient):
    done = gwclient("watch", "--url", f"127.0.0.1:{free_port()}", "--interval", "0.05", "--timeout", "0.3")
    assert done.returncode == 4
    assert "trying again for 0.3 s" in done.stderr


def test_clean_prints_the_archive_and_its_counts(store, gwclient):
    body = segment()
    store.stored(body)
    url = ("--url", store.url("/sendF").removeprefix("http://"))  # without a scheme
    table = gwclient("clean", *url)
    assert table.returncode == 0, table.stderr
    folder = store.archives()[-1].name
    (row,) = table.stdout.splitlines()[1:]
    assert row.split()[-2:] == ["1", str(len(body))]
    assert row.startswith(folder)
    listed = [json.loads(line) for line in gwclient("archives", *url, "-o", "json").stdout.splitlines()]
    assert {"name": folder, "n_itm": 1, "buff_size": len(body)}.items() <= listed[0].items()
    assert gwclient("archives", *url, "-o", "name").stdout.splitlines() == [row["name"] for row in listed]
    assert json.loads(gwclient("clean", *url, "-o", "json").stdout)["n_itm"] == 0


def test_freeze_and_clean_leave_another_batch_alone(store, gwclient):
    store.stored(segment())
    number = store.request("GET", "/archives").json()["open"]["batch"]
    url = ("--url", store.url("/sendF"))
    for command in ("freeze", "clean"):
        done = gwclient(command, *url, "--batch", str(number + 1))
        assert done.returncode == 3
        assert f"batch {number + 1} is not open, batch {number} is" in done.stderr
    assert (store.stat()["n_itm"], store.dstat()["dstatus"]) == (1, "OPERATIONAL")
    assert gwclient("freeze", *url, "--batch", str(number)).returncode == 0
    assert gwclient("clean", *url, "--batch", str(number)).returncode == 0


def test_clean_archives_the_batch_that_was_open_when_it_looked(store, monkeypatch):
    remote = RemoteStore(store.url("/sendF"))
    look = remote._archives

    def look_before_somebody_cleans():
        listed = look()
        store.cleanall()
        store.stored(segment())
        return listed

    monkeypatch.setattr(remote, "_archives", look_before_somebody_cleans)
    with pytest.raises(WrongState, match="nothing was done"):
        remote.clean()
    assert store.stat()["n_itm"] == 1


def test_a_service_without_counts_and_archives_cleans_as_well(new_store, gwclient):
    store = new_store("split")
    store.stored(segment())
    done = gwclient("clean", "--url", store.url("/cleanall"), "-o", "json")
    assert (done.returncode, json.loads(done.stdout)) == (0, {"name": None})
    assert store.stat()["n_itm"] == 0


def test_forms_of_output(store, gwclient):
    names = [store.stored(segment(n, t0=1000.0 + n, detector="V1", channel="V1:Hrec")) for n in (1, 2)]
    url = ("--url", store.url("/"))
    assert gwclient("log", *url, "-o", "name").stdout.split() == names
    assert gwclient("files", *url, "-o", "json").stdout.splitlines() == [json.dumps({"name": name}) for name in names]
    header, *rows = gwclient("log", *url, "-o", "table").stdout.splitlines()
    assert header.split()[:4] == ["level", "Id", "size", "name"]
    assert [row.split()[3] for row in rows] == names
    assert len(gwclient("stat", *url, "--output", "table").stdout.splitlines()) == 2
    assert gwclient("stat", *url, "-o", "yaml").returncode == 2


def test_channels_and_gaps_come_from_the_log(store, gwclient):
    rate = 4096
    for first in (600, 0, 300, 1500, 1200):  # in any order, with a gap of 300 samples
        t0 = T0 + first / rate
        store.stored(segment(300, t0=t0, dt=1 / rate, detector="V1", channel="V1:Hrec"))
    store.stored(segment(4, t0=T0, dt=0.25, detector="L1"))
    url = ("--url", store.url("/"))
    gap = {
        "detector": "V1", "channel": "V1:Hrec", "rate": rate, "begin": T0 + 900 / rate, "end": T0 + 1200 / rate,
        "seconds": 300 / rate,
    }  # fmt: skip
    assert [json.loads(line) for line in gwclient("gaps", *url, "-o", "json").stdout.splitlines()] == [gap]
    l1, v1 = (json.loads(line) for line in gwclient("channels", *url, "-o", "json").stdout.splitlines())
    assert (l1["detector"], l1["segments"], l1["seconds"], l1["gaps"]) == ("L1", 1, 1.0, 0)
    assert (v1["segments"], v1["seconds"], v1["gaps"]) == (5, 1500 / rate, 1)
    assert (v1["begin"], v1["end"]) == (T0, T0 + 1800 / rate)


def test_segments_are_downloaded(store, gwclient, tmp_path):
    bodies = [segment(n) for n in (3, 4)]
    names = [store.stored(body) for body in bodies]
    url = ("--url", store.url("/"))
    done = gwclient("get", *url, *names, "--to", tmp_path / "new")
    assert done.returncode == 0, done.stderr
    assert [(tmp_path / "new" / name).read_bytes() for name in names] == bodies
    assert gwclient("get", *url, names[0], "--to", "-").stdout.encode() == bodies[0]
    for unknown in ("gwb1.json", "../etc/passwd", "/etc/passwd", "a//b", "none.png"):
        missing = gwclient("get", *url, unknown, "--to", tmp_path)
        assert (missing.returncode, missing.stderr.count("\n")) == (5, 1), missing.stderr
    assert sorted(path.name for path in tmp_path.iterdir() if path.name != "state") == ["new"]


def test_products_are_listed_and_their_checksums_verified(gwclient, store, tmp_path):
    assert "verdict: none" in gwclient("products", "--url", store.url("/")).stderr
    pictures = {f"{detector}-1000-1/spectrogram.png": detector.encode() for detector in ("H1", "L1")}
    manifest = {
        "files": [{"name": name, "sha256": hashlib.sha256(data).hexdigest()} for name, data in pictures.items()]
    }
    products = [{"name": name, "size": 2, "url": f"/products/{name}"} for name in pictures]
    served: dict[str, object] = {f"/products/{name}": data for name, data in pictures.items()}
    served |= {
        "/products": {"batch": 1, "verdict": "done", "products": products},
        "/products/manifest.json": manifest,
    }
    with FakeServer(lambda path, _: (200, served[path])) as server:
        assert gwclient("products", "--url", server.url, "-o", "name").stdout.split() == list(pictures)
        assert gwclient("get", *pictures, "--url", server.url, "--to", tmp_path).returncode == 0
        assert {name: (tmp_path / name).read_bytes() for name in pictures} == pictures
        served["/products/L1-1000-1/spectrogram.png"] = b"L"
        damaged = gwclient("get", "L1-1000-1/spectrogram.png", "--url", server.url, "--to", tmp_path / "x")
        assert damaged.returncode == 4
        assert "checksum" in damaged.stderr
        assert not (tmp_path / "x").exists()


def test_ping_says_whether_the_store_is_ready(services, gwclient):
    for route in ("/sendF", "/streamdata", "/"):
        done = json.loads(gwclient("ping", "--url", services.url(route), "-o", "json").stdout)
        assert (done["status"], done["ms"] > 0) == ("ready", True)
    with FakeServer(lambda *_: (503, {"code": "RECOVERING", "body": "the store is starting"})) as server:
        starting = gwclient("ping", "--url", server.url)
    assert starting.returncode == 4
    assert "the store is starting" in starting.stderr


def test_freeze_records_a_label(store, gwclient):
    assert gwclient("freeze", "--url", store.url("/"), "--user", "ada", "--label", "run 7").returncode == 0
    assert store.dstat() == {"dstatus": "FROZEN", "user": "ada", "token": "run 7"}
    assert "--token" not in gwclient("freeze", "--help").stdout


def test_a_store_that_is_not_there_is_an_error(gwclient):
    done = gwclient("stat", "--url", f"http://127.0.0.1:{free_port()}")
    assert (done.returncode, done.stderr.count("\n")) == (4, 1)


def test_a_service_without_the_route_is_an_error(gwclient):
    with FakeServer(lambda *_: (404, b"no")) as server:
        assert gwclient("freeze", "--url", server.url).returncode == 5


def test_freeze_by_policy_says_when_the_store_waits(gwclient):
    """As GlitchflowAPI answers /train."""
    with FakeServer(lambda path, _: (200, {"resp": "WAITING"}) if path == "/train" else (404, b"")) as server:
        assert gwclient("freeze", "--policy", "--url", server.url).returncode == 3


# -- what people see ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "arguments",
    [
        ("stream", "--inf", "0"), ("stream", "--sup", "x"), ("stream", "--timeout", "-1"), ("stream", "--chunk", "0"),
        ("stream", "--in-flight", "1.5"), ("stream", "--rate", "nan"), ("stream", "--gps", "1/0"),
        ("watch", "--interval", "0"), ("watch", "--until", "thawed"),
    ],
)  # fmt: skip
def test_a_wrong_argument_is_answered_with_what_is_right(arguments, gwclient):
    done = gwclient(*arguments)
    assert done.returncode == 2
    assert f"argument {arguments[1]}" in done.stderr
    assert "must be" in done.stderr
    assert arguments[2] in done.stderr
    assert "_" not in done.stderr.splitlines()[-1]


def test_a_bar_on_a_terminal_and_plain_lines_in_a_pipe(store, gwclient, tmp_path):
    stream = ("stream", "--file", gwosc_file(tmp_path / "a.hdf5", [1.0] * 900), "--url", store.url("/sendF"))
    plain = gwclient(*stream).stderr
    assert "L1: 3/3 segments" in plain
    assert "\x1b" not in plain
    master, slave = pty.openpty()
    env = gwclient.environment(TERM="xterm", COLUMNS="100")
    with subprocess.Popen(gwclient.command(*stream), stderr=slave, stdout=slave, env=env) as client:
        os.close(slave)
        shown = b""
        try:
            while chunk := os.read(master, 4096):
                shown += chunk
        except OSError:  # the terminal's other end is closed
            pass
    os.close(master)
    assert client.returncode == 0
    assert "3/3" in shown.decode()
    assert "\x1b[" in shown.decode()


def test_help_names_every_default(gwclient):
    text = gwclient("stream", "--help", SRV="http://there:8000/streamdata").stdout
    assert "http://there:8000/streamdata" in "".join(text.split())
    assert all(name in text for name in ("GWID", "DTCID", "INF", "SUP", "SRV"))


@pytest.fixture
def demo(gwclient, tmp_path):
    """Starts the demonstration as `make demo` does, without internet and in the test's folder."""
    pytest.importorskip("gwpy", reason="needs gwpy: make .venv/.extras", exc_type=ImportError)
    command = [sys.executable, "-W", "ignore", "-m", "scripts.demo"]
    nowhere = f"http://127.0.0.1:{free_port()}"

    def start(**env):
        env = gwclient.environment(ROOT=str(tmp_path / "demo"), GWOSC=nowhere, **env)
        return subprocess.Popen(command, env=env, cwd=ROOT, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)

    return start


def test_the_demo_runs_twice_at_the_address_that_is_asked_for(demo):
    """A second run while the first one is up ends at once; after it, the first one's batch is archived."""
    address = f"127.0.0.1:{free_port()}"
    with demo(SERVURL=address) as first:
        said: list[str] = []
        while not said or "Ctrl-C" not in said[-1]:
            said.append(first.stdout.readline())
            assert said[-1], said
        assert f"http://{address}/" in said[-1]
        assert "no internet" in "".join(said)
        (picture,) = (word for word in "".join(said).split() if word.endswith(".png") and word.startswith("/"))
        assert Path(picture).read_bytes().startswith(b"\x89PNG")
        with demo(SERVURL=address) as second:
            refused = second.stdout.read()
        assert second.returncode == 1
        assert address in refused
        assert "ROOT=" in refused
        first.send_signal(signal.SIGINT)
        first.stdout.read()
    assert first.returncode == 0
    with demo(SERVURL=address, DEMO_EXIT="1") as again:
        said = again.stdout.read()
    assert again.returncode == 0, said
    assert "archived first" in said


def test_the_demo_says_what_an_address_is(demo):
    with demo(SERVURL="127.0.0.1") as process:
        said = process.stdout.read()
    assert process.returncode == 1
    assert "host:port" in said


COMMANDS = (
    "stream", "ping", "stat", "files", "log", "channels", "gaps", "coverage", "fetch", "follow", "archives",
    "products", "get", "verify", "freeze", "clean", "watch", "completion",
)  # fmt: skip


def test_help_has_commands_environment_and_exit_codes(gwclient):
    text = gwclient("--help").stdout
    assert all(name in text for name in (*COMMANDS, "BEARER_TOKEN_FILE", "exit codes", "examples"))
    for name in COMMANDS:
        text = gwclient(name, "--help").stdout
        assert "usage: gwclient" in text
        assert " _" not in text
    assert gwclient("--version").stdout.startswith("gwclient 0.")


def test_a_shell_completes_commands_and_options(gwclient):
    pytest.importorskip("shtab", reason="needs the client's packages: make .venv/.extras")
    script = gwclient("completion", "bash").stdout
    complete = """
        COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _shtab_gwclient gwclient "${@: -1}" "${@: -2:1}"
        echo "${COMPREPLY[@]}"
    """

    def completed(*words):
        command = ["bash", "-c", script + complete, "bash", "gwclient", *words]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()

    assert completed("st") == ["stream", "stat"]
    assert "--gaps" in completed("stream", "--g")
    assert completed("stream", "--gaps", "s") == ["skip"]
    assert completed("fe") == ["fetch"]
    assert completed("fetch", "--gaps", "s") == ["split"]


@pytest.mark.parametrize(
    "arguments",
    [
        ("--t0", "abc"), ("--t0", "1/0"), ("--t0", "-1"), ("--t0", "1e400"), ("--sample-rate", "0"), ("--gps", "nan"),
        ("--sample-rate", "1e-300"), ("--chunk", str(10**30)), ("--in-flight", "100000"), ("--rate", "inf"),
        ("--url", ""), ("--url", "http://["), ("--url", "http://a b"), ("--url", "ftp://x"), ("--url", "x:port"),
        ("--url", "http://"), ("--url", "x:99999"), ("--detector", "a\nb"), ("--channel", "\udcff"), ("--gwosc", "//"),
        ("--file", "x" * 5000), ("--file", "/"), ("--file", "/dev/null"), ("--state", "/proc/none/x"), ("--state", "/"),
        ("--event", "\udcff"), ("--event", "../../x"), ("--chunk", ""), ("--inf", ""), ("--timeout", "1e-99"),
    ],
)  # fmt: skip
def test_no_argument_causes_a_traceback(arguments, gwclient, tmp_path):
    source = () if arguments[0] in ("--file", "--event") else ("--file", gwosc_file(tmp_path / "a.hdf5", [1.0]))
    nowhere = f"127.0.0.1:{free_port()}"
    done = gwclient("stream", "--gwosc", nowhere, "--url", nowhere, "--timeout", "0.1", *source, *arguments)
    assert done.returncode in range(1, 7), done.stderr
    assert "Traceback" not in done.stderr
    assert "unexpected" not in done.stderr
    assert done.stderr.splitlines()[-1].startswith("gwclient")


@pytest.mark.parametrize(
    "env", [{"SRV": "http://["}, {"INF": "x"}, {"BEARER_TOKEN": "a b"}, {"BEARER_TOKEN_FILE": "/"}]
)
def test_no_variable_causes_a_traceback(env, gwclient, tmp_path):
    path = gwosc_file(tmp_path / "a.hdf5", [1.0])
    done = gwclient("stream", "--file", path, "--timeout", "0.1", **{"SRV": f"127.0.0.1:{free_port()}", **env})
    assert done.returncode in (2, 5)
    assert done.stderr.splitlines()[-1].startswith("gwclient")
    assert "unexpected" not in done.stderr


@pytest.mark.parametrize("missing", ["rich", "h5py", "pyreqwest"])
def test_a_missing_package_is_answered_with_what_works_in_a_checkout(missing, gwclient, tmp_path):
    path = gwosc_file(tmp_path / "a.hdf5", [1.0])
    code = f"import sys; sys.modules[{missing!r}] = None; from gwclient.__main__ import run; run()"
    command = [sys.executable, "-c", code, "stream", "--file", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, env=gwclient.environment())
    assert done.returncode == 1
    assert missing in done.stderr
    assert "pip install '.[client]'` in a checkout" in done.stderr
    assert "dt-datastore[" not in done.stderr


def test_nothing_names_a_package_that_is_not_published():
    texts = {path: path.read_text() for path in [*ROOT.glob("gwclient/**/*.py"), ROOT / "docs" / "client.md"]}
    assert len(texts) > 15
    assert [path for path, text in texts.items() if "dt-datastore[" in text] == []


def test_a_store_that_asks_for_credentials_is_given_them(new_store, gwclient, strain, tmp_path):
    entry = f"sha256:{hashlib.sha256(b'a-secret').hexdigest()} ada read,write,operate\n"
    (tmp_path / "tokens").write_text(entry)
    (tmp_path / "mine").write_text("a-secret\n")
    store = new_store("embedded", AUTH_TOKENS=str(tmp_path / "tokens"))
    stream = ("stream", "--file", strain[0], "--url", store.url("/sendF"))
    refused = gwclient(*stream)
    assert refused.returncode == 5
    assert "401" in refused.stderr
    assert "set BEARER_TOKEN, or BEARER_TOKEN_FILE" in refused.stderr
    assert "set BEARER_TOKEN" in gwclient("stat", "--url", store.url("/")).stderr
    wrong = gwclient(*stream, BEARER_TOKEN="another")
    assert "does not accept the token in BEARER_TOKEN" in wrong.stderr
    assert gwclient(*stream, BEARER_TOKEN="a-secret").returncode == 0
    mine = {"BEARER_TOKEN_FILE": str(tmp_path / "mine")}
    assert json.loads(gwclient("stat", "--url", store.url("/sendF"), **mine).stdout)["n_itm"] > 0
    assert gwclient("freeze", "--url", store.url("/sendF"), **mine).returncode == 0
