"""Real servers for tests: functions as processes of their own, on free ports, over a volume in a temporary folder."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import signal
import subprocess
import sys
import time
from pathlib import Path

import urllib3

from tests.support import ROOT
from tests.support.checks import name_in
from tests.support.fork_server import Child, fork
from tests.support.ports import free_port

http = urllib3.PoolManager(maxsize=64, retries=False, timeout=urllib3.Timeout(total=30))

PASSED_ON = ("PATH", "HOME", "LANG", "TMPDIR", "COVERAGE_PROCESS_CONFIG")  # the last one by `make coverage`

FUNCTION_OF = {
    "/sendF": "ingest",
    "/stat": "stats",
    "/dstat": "stats",
    "/dumpF": "files",
    "/dumpLogF": "logdump",
    "/upddsc": "freeze",
    "/cleanall": "cleanall",
    "/segment": "files",
    "/archives": "files",
    **dict.fromkeys(("/channels", "/coverage", "/strain", "/data", "/live"), "strain"),
    **dict.fromkeys(("/api/version", "/api/v1/gwf.json", "/api/v2/runs", "/dq"), "strain"),
    **dict.fromkeys(("/", "/status.json", "/whoami", "/bufstat", "/dsdesc", "/dumpf", "/dumpflog"), "logic"),
    **dict.fromkeys(("/stream", "/freezeds", "/flushbuf"), "logic"),
    **dict.fromkeys(
        ("/stats", "/dumpbuf", "/desc", "/dspage", "/train", "/streamdata", "/cleanbuf", "/docs", "/openapi.json"),
        "glitchflow",
    ),
}


def hang_up(url: str) -> None:
    """Close the idle connections to a server that is about to end: gunicorn would wait two seconds for them."""
    idle = http.connection_from_url(url).pool
    with contextlib.suppress(queue.Empty):
        while idle:
            if connection := idle.get_nowait():
                connection.close()


class Process:
    """One function as a real process: `python -m shared.serve`, or forked from one that has imported its libraries."""

    def __init__(self, target: str, env: dict[str, str], port: int | None = None, *, forked: bool = False):
        self.target, self.env, self.port, self.forked = target, env, port or free_port(), forked
        self._process: subprocess.Popen | Child | None = None
        root = Path(env["ROOT"])
        self.log = root.with_name(root.name + ".logs") / f"{target}-{self.port}.log"

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def process(self) -> subprocess.Popen | Child:
        assert self._process, f"{self.target} has not been started"
        return self._process

    @property
    def alive(self) -> bool:
        """Whether it has been started and has not ended."""
        return self._process is not None and self._process.poll() is None

    def start(self, wait="/health/liveness", **env: str) -> Process:
        environment = {
            **{name: os.environ[name] for name in PASSED_ON if name in os.environ},
            "PYTHONPATH": str(ROOT),
            **self.env,
            "FUNCTION_TARGET": self.target,
            "SERVURL": f"127.0.0.1:{self.port}",
            **env,
        }
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with self.log.open("ab") as log:
            # A fork cannot take another path: the interpreter reads it when it starts.
            if self.forked and environment["PYTHONPATH"] == str(ROOT):
                self._process = fork(environment, log)
            else:
                self._process = subprocess.Popen(
                    [sys.executable, "-W", "ignore", "-m", "shared.serve"],
                    cwd=ROOT,
                    env=environment,
                    stdout=log,
                    stderr=log,
                    start_new_session=True,  # for `kill`
                )
        if wait:
            self.wait(wait)
        return self

    def wait(self, path="/health/readiness", timeout=60.0) -> None:
        """Wait until `path` answers 200."""
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            if self._process and not self.alive:
                raise AssertionError(f"{self.target} ended with {self.process.returncode}:\n{self.text()}")
            try:
                if http.request("GET", self.url + path, timeout=2).status == 200:
                    return
            except urllib3.exceptions.HTTPError:
                pass
            time.sleep(0.02)
        raise AssertionError(f"{self.target} is not ready:\n{self.text()}")

    def text(self) -> str:
        return self.log.read_text() if self.log.exists() else ""

    def children(self) -> list[int]:
        """The processes that it has started itself."""
        try:
            return [int(pid) for task in Path(f"/proc/{self.process.pid}/task").iterdir()
                    for pid in (task / "children").read_text().split()]  # fmt: skip
        except FileNotFoundError:
            return []

    def signal(self, number: int) -> None:
        self.process.send_signal(number)

    def kill(self) -> None:
        """SIGKILL for all of it, as when a container dies: a server's orphaned worker would hold the port."""
        try:
            os.killpg(self.process.pid, signal.SIGKILL)
        except ProcessLookupError:  # dead, or not the first of its group
            self.process.kill()
        self.process.wait()

    def wait_dead(self, timeout=30.0) -> int:
        return self.process.wait(timeout)

    def stop(self) -> None:
        """SIGTERM, as Kubernetes would; SIGKILL if that does not end it."""
        hang_up(self.url)
        if self.alive:
            self.process.send_signal(signal.SIGCONT)
            self.process.terminate()
            try:
                self.process.wait(30)
            except subprocess.TimeoutExpired:
                self.kill()


class Store:
    """A running store, in either topology; `topology` is "embedded" or "split".

    Split, Datastore Logic and GlitchflowAPI run as well if `upper` is true. `{function}` in a variable is the
    function's name.
    """

    def __init__(self, topology: str, root: Path, upper=False, forked=False, **env: str):
        self.topology, self.root, self.forked = topology, Path(root), forked
        self.env = {"ROOT": str(root), "HOUSEKEEPING": "0.5", "PREPROC": "off", **env}
        self.processes: dict[str, Process] = {}
        if topology == "embedded":
            self._add("datastore")
            return
        writer = self._add("writer")
        for target in ("ingest", "stats", "files", "logdump", "freeze", "cleanall"):
            self._add(target, WRITER_URL=writer.url)
        if upper:
            self._add_upper()

    def _add(self, target: str, **env: str) -> Process:
        own = {name: value.replace("{function}", target) for name, value in {**self.env, **env}.items()}
        self.processes[target] = Process(target, own, forked=self.forked)
        return self.processes[target]

    def _add_upper(self) -> None:
        """Logic with its endpoints on as many hosts, and GlitchflowAPI below one base URL, as in the original."""
        endpoints = {
            "ENDP_STAT": "/stat", "ENDP_DESC": "/dstat", "ENDP_DUMPF": "/dumpF", "ENDP_DUMP": "/dumpLogF",
            "ENDP_SEND": "/sendF", "ENDP_UPD_DESC": "/upddsc", "ENDP_CLEAN": "/cleanall",
            "ENDP_SEGMENT": "/segment", "ENDP_ARCHIVES": "/archives",
        }  # fmt: skip
        urls = {name: self.url(route) for name, route in endpoints.items()}
        logic = self._add("logic", **urls)
        self._add("glitchflow", DS_BURL=logic.url + "/")

    # -- life -------------------------------------------------------------------------------------------------

    def start(self, ready=True) -> Store:
        for process in self.processes.values():
            process.start(wait="")
        for process in self.processes.values():
            process.wait("/health/readiness" if ready else "/health/liveness")
        return self

    def stop(self) -> None:
        for process in self.processes.values():
            if process.alive:
                hang_up(process.url)
                process.process.send_signal(signal.SIGCONT)
                process.process.terminate()
        for process in self.processes.values():
            process.stop()

    def __enter__(self) -> Store:
        return self.start()

    def __exit__(self, *exc) -> None:
        self.stop()

    @property
    def writer(self) -> Process:
        return self.processes["datastore" if self.topology == "embedded" else "writer"]

    @property
    def ingest(self) -> Process:
        return self.processes["datastore" if self.topology == "embedded" else "ingest"]

    # -- requests ---------------------------------------------------------------------------------------------

    def url(self, route: str) -> str:
        name = "datastore" if self.topology == "embedded" else FUNCTION_OF[route]
        if name == "strain" and name not in self.processes:  # few tests need it
            self._add(name).start("/health/readiness")
        return self.processes[name].url + route

    def request(self, method: str, route: str, body=None, headers=None, query="", **kw):
        return http.request(method, self.url(route) + query, body=body, headers=headers or {}, **kw)

    def send(self, body: bytes, headers=None):
        return self.request("POST", "/sendF", body, headers)

    def stored(self, body: bytes, headers=None) -> str:
        """Send a segment that must be taken; return its file name."""
        answer = self.send(body, headers)
        assert answer.status == 201, answer.data
        return name_in(answer.data)

    def stat(self) -> dict:
        return self.request("GET", "/stat").json()

    def dstat(self) -> dict:
        return self.request("GET", "/dstat").json()

    def names(self, query="") -> list[str]:
        return self.request("GET", "/dumpF", query=query).json()["nmlist"]

    def logged(self, query="") -> list[dict]:
        answer = self.request("GET", "/dumpLogF", query=query)
        return [] if answer.status == 204 else answer.json()

    def freeze(self, user="operator", token="secret", **kw):
        return self.request("POST", "/upddsc", json.dumps({"user": user, "token": token}), **kw)

    def recorded(self, user: str, token: str) -> dict[str, str]:
        """What is recorded of an operator who froze with these: they themselves, where authentication is off."""
        return {"user": user, "token": token}

    def cleanall(self, **kw):
        return self.request("POST", "/cleanall", **kw)

    # -- the volume -------------------------------------------------------------------------------------------

    @property
    def data(self) -> Path:
        return self.root / "datavar" / "data"

    @property
    def journal(self) -> Path:
        return self.root / "appdata" / "log" / "LogStream.json"

    @property
    def views(self) -> tuple[Path, Path]:
        adm = self.root / "appdata" / "adm"
        return adm / "StatDesc.json", adm / "Dsstat.json"

    def files(self) -> dict[str, bytes]:
        return {path.name: path.read_bytes() for path in sorted(self.data.iterdir())}

    def archives(self) -> list[Path]:
        """Archive folders, oldest batch first."""
        folders = [
            p
            for p in (self.root / "datavar").iterdir()
            if p.is_dir() and p.name not in ("data", "products", "datasets") and p.name[0] != "."
        ]
        return sorted(folders, key=lambda p: json.loads((p / "LogStream.json").read_text().splitlines()[0])["batch"])

    def check_exact(self) -> dict:
        """I2: counts, names, log and files all tell the same story; return /stat."""
        stat, names, log, files = self.stat(), self.names(), self.logged(), self.files()
        assert stat["n_itm"] == len(names) == len(log) == len(files)
        assert names == sorted(files) == [entry["name"] for entry in log]
        assert len(set(names)) == len(names)
        assert stat["buff_size"] == sum(map(len, files.values())) == sum(entry["size"] for entry in log)
        assert all(len(files[entry["name"]]) == entry["size"] for entry in log)
        return stat
