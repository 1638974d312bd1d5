"""The store on a cluster as the tests of its contract see it, and a load on it from within the cluster."""

from __future__ import annotations

import contextlib
import hashlib
import json
import shutil
import subprocess
import tarfile
import tempfile
import threading
import time
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import NamedTuple

import urllib3

from shared.auth.principal import fingerprint_of
from tests.e2e import driver_load
from tests.e2e.cluster import Cluster
from tests.support.http_server import pass_back, serving
from tests.support.servers import FUNCTION_OF, Process, Store

PASSED_BACK = ("Content-Type", "Retry-After", "Datastore-Batch")


class Relay(Process):
    """A local URL for one function: adds the host by which Knative's gateway tells the functions apart, and a token."""

    def __init__(self, target: str, host: str, gateway: int, token: str = ""):
        credentials = {"Authorization": f"Bearer {token}"} if token else {}
        pool = urllib3.PoolManager(maxsize=64, retries=False, timeout=urllib3.Timeout(total=120))

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def forward(self):
                body = self.rfile.read(int(self.headers.get("Content-Length", 0))) or None
                headers = urllib3.HTTPHeaderDict(credentials | {"Host": host})
                for name, value in self.headers.items():
                    if name.lower() not in ("host", "connection"):
                        headers.add(name, value)
                try:
                    answer = pool.request(self.command, f"http://127.0.0.1:{gateway}{self.path}", body, headers=headers)
                except urllib3.exceptions.HTTPError:  # the caller sees a lost connection, as it would without us
                    self.close_connection = True
                    return
                pass_back(self, answer, PASSED_BACK)

            do_GET = do_POST = do_DELETE = forward

            def log_message(self, *args):
                pass

        self._serving = contextlib.ExitStack()
        self._serving.callback(pool.clear)
        port = self._serving.enter_context(serving(Handler))
        self.target, self.port = target, port
        self._process = None

    def start(self, wait="", **env: str) -> Relay:
        """It serves already."""
        return self

    def stop(self) -> None:
        self._serving.close()


class ClusterStore(Store):
    """The store on a cluster; its files are looked at in a copy, taken from inside the claims."""

    def __init__(self, cluster: Cluster, copy: Path):
        self.cluster, self.gateway = cluster, cluster.forward(cluster.gateway)
        super().__init__("embedded" if cluster.embedded else "split", copy, upper=not cluster.embedded)

    def _add(self, target: str, **env: str) -> Process:
        host = f"{target}.{self.cluster.namespace}.svc.cluster.local"
        self.processes[target] = Relay(target, host, self.gateway, self.cluster.token)
        return self.processes[target]

    def request(self, method: str, route: str, body=None, headers=None, query="", **kw):
        """As on a local store; the first request to a function waits for its pod."""
        return super().request(method, route, body, headers, query, **{"timeout": 120, **kw})

    def host(self, route: str) -> str:
        """The host of the function that serves a route, as the cluster knows it."""
        target = "datastore" if self.topology == "embedded" else FUNCTION_OF[route]
        return f"{target}.{self.cluster.namespace}.svc.cluster.local"

    def stop(self) -> None:
        for relay in self.processes.values():
            relay.stop()

    def recorded(self, user: str, token: str) -> dict[str, str]:
        """Authentication is on: what is recorded is the operator's name, and the fingerprint of the token."""
        digest = hashlib.sha256(self.cluster.token.encode()).hexdigest()
        return {"user": "operator", "token": fingerprint_of(digest)}

    # -- the volume -------------------------------------------------------------------------------------------

    def _pull(self, *paths: str) -> None:
        """Copy files and folders of the claims. What is replaced while it is read is read again."""
        for path in paths:
            target = self.root / path
            shutil.rmtree(target) if target.is_dir() else target.unlink(missing_ok=True)
        self.root.mkdir(parents=True, exist_ok=True)
        for attempt in range(5):
            with tempfile.TemporaryFile() as archive:
                command = ("exec", "driver", "--", "tar", "-cf", "-", "-C", "/store", *paths)
                done = self.cluster.kubectl(*command, stdout=archive, stderr=subprocess.PIPE, check=False)
                if done.returncode == 0:
                    archive.seek(0)
                    with tarfile.open(fileobj=archive) as tar:
                        tar.extractall(self.root, filter="data")
                    return
            time.sleep(attempt)
        raise AssertionError(f"{paths} cannot be copied: {done.stderr.decode()}")

    @property
    def journal(self) -> Path:
        self._pull("appdata/log/LogStream.json")
        return super().journal

    def files(self) -> dict[str, bytes]:
        self._pull("datavar/data")
        return super().files()

    def products(self) -> list[Path]:
        """What preproc has made of the batch."""
        self._pull("datavar/products")
        return [path for path in (self.root / "datavar" / "products").rglob("*") if path.is_file()]

    def archives(self) -> list[Path]:
        """As on a local volume. Archives never change, so only new ones are copied."""
        listed = self.cluster.inside("sh", "-c", "ls /store/datavar/*/LogStream.json 2>/dev/null || true")
        names = {Path(line).parent.name for line in listed.splitlines()}
        if new := [f"datavar/{name}" for name in sorted(names) if not (self.root / "datavar" / name).exists()]:
            self._pull(*new)
        return super().archives()


TIMEOUT = 15.0  # seconds that a client of a load waits for an answer; the writer is given 10 for its own


class Answer(NamedTuple):
    """One request of a load: its number, the last status, and the answer."""

    number: int
    status: int
    text: str

    @property
    def name(self) -> str:
        return json.loads(self.text)["body"].split()[1]


class Load(threading.Thread):
    """Segments from many connections within the cluster; with `retry` each until it is taken.

    It ends after `count` segments or `seconds`, or when it is told to. A connection waits `pause` seconds between two.
    """

    def __init__(
        self, store: ClusterStore, count=3_000, *, connections=32, samples=300, retry=True, seconds=0.0, pause=0.0
    ):
        super().__init__()
        self._first, self._samples = time.time_ns() // 1000, samples
        self._complete = bool(count)
        numbers = {"first": self._first, "count": count, "samples": samples, "connections": connections,
                   "seconds": seconds, "pause": pause, "timeout": TIMEOUT}  # fmt: skip
        flags = [
            "--attended",
            *(["--retry"] if retry else []),
            *(f"--{name}={value}" for name, value in numbers.items()),
        ]
        namespace, _, gateway = store.cluster.gateway.partition("/")
        url, via = f"http://{store.host('/sendF')}/sendF", f"http://{gateway}.{namespace}.svc.cluster.local"
        environment = ["env", "PYTHONPATH=/tmp", f"TOKEN={store.cluster.token}"]
        command = [*environment, "python", "-m", "tests.e2e.driver_load", url, "--via", via, *flags]
        self._process = subprocess.Popen(
            store.cluster.call("exec", "-i", "driver", "--", *command),
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        self.sent: list[Answer] = []
        self.seconds = 0.0
        self.start()

    def run(self) -> None:
        assert self._process.stdout
        for line in self._process.stdout:
            if isinstance(found := json.loads(line), list):
                self.sent.append(Answer(*found))
            else:
                self.seconds = found["seconds"]

    def end(self) -> None:
        """Have it end soon."""
        self._complete = False
        assert self._process.stdin
        self._process.stdin.close()

    def wait(self) -> None:
        """Wait until all is sent."""
        self.join(600)
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.close()
        self._process.stdout.close()
        assert self._process.wait(60) == 0

    def stop(self) -> None:
        """End it whatever it does: a test that has failed leaves no load to the next one."""
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(60)
        self._process.terminate()
        self.join()
        self._process.stdout.close()

    @property
    def taken(self) -> dict[str, bytes]:
        """File names of what was acknowledged, with the segments."""
        return {each.name: driver_load.body(each.number, self._samples) for each in self.sent if each.status == 201}

    def check(self, store: Store) -> None:
        """I1, I2, I4, I5: what was acknowledged is there, once, whole, and counted."""
        self.wait()
        assert self.sent
        store.check_exact()
        files = store.files()
        taken = self.taken
        assert len(taken) == sum(each.status == 201 for each in self.sent)
        assert {name: files.get(name) for name in taken} == taken
        assert len(set(files.values())) == len(files)
        if self._complete:
            assert [each for each in self.sent if each.status != 201] == []
            assert set(files) - set(taken) == set()
        else:  # what was under way at the end may have been stored without its answer
            assert len(files) - len(taken) <= sum(each.status != 201 for each in self.sent)
