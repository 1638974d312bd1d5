"""A real S3 server for tests, versitygw over a temporary folder, and a small hand-written proxy in front of it."""

from __future__ import annotations

import contextlib
import http.client
import importlib.util
import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest
import urllib3

from tests.support.http_server import serving
from tests.support.ports import free_port

_cache = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
TOOLS = Path(os.environ.get("KNATIVE_TOOLS") or f"{_cache}/dt-datastore")  # where knative/tools/install.sh puts things
ACCESS, SECRET, BUCKET = "an-access-key", "a-secret-key-of-the-tests", "strain"


def program() -> str:
    """The server's program; empty where there is none."""
    return shutil.which("versitygw") or shutil.which("versitygw", path=str(TOOLS)) or ""


def is_there() -> bool:
    """Whether the server and s3fs are installed."""
    return bool(program() and importlib.util.find_spec("s3fs"))


def versitygw() -> str:
    """The server's program; skips the test where it, or s3fs, is missing."""
    if not is_there():
        pytest.skip("needs s3fs (make .venv/.extras) and versitygw (knative/tools/install.sh s3)")
    return program()


class S3Server:
    """versitygw with one bucket."""

    def __init__(self, folder: Path) -> None:
        self._program = versitygw()
        self.root = folder / "s3"
        (self.root / "data" / BUCKET).mkdir(parents=True)
        self.port = free_port()
        self.process: subprocess.Popen | None = None

    @property
    def data(self) -> Path:
        """The objects as files."""
        return self.root / "data" / BUCKET

    def start(self) -> S3Server:
        command = [self._program, "--access", ACCESS, "--secret", SECRET, "--port", f"127.0.0.1:{self.port}", "--quiet",
                   "posix", str(self.root / "data")]  # fmt: skip
        with (self.root / "log").open("ab") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log, cwd=self.root)
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            with contextlib.suppress(urllib3.exceptions.HTTPError):
                urllib3.request("GET", f"http://127.0.0.1:{self.port}/", timeout=1, retries=False)
                return self
            time.sleep(0.02)
        raise AssertionError((self.root / "log").read_text())

    def kill(self) -> None:
        assert self.process
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def stop(self) -> None:
        if self.process and self.process.poll() is None:
            self.process.terminate()
            self.process.wait()


def environment(port: int, prefix: str = "archive", **more: str) -> dict[str, str]:
    """The environment of a store whose archives go to the server at this port."""
    options = {"key": ACCESS, "secret": SECRET, "endpoint_url": f"http://127.0.0.1:{port}",
               "config_kwargs": {"s3": {"addressing_style": "path"}}}  # fmt: skip
    return {"ARCHIVE_URL": f"s3://{BUCKET}/{prefix}", "ARCHIVE_OPTIONS": json.dumps(options), **more}


class Proxy:
    """Passes requests on to a server, and counts them.

    Attributes:
        port: where it listens.
        seen: method and path of each request, with the `Range` that it asked for.
        refuse: how many of the next requests are answered 503.
        delay: seconds before each is passed on.
        corrupt: whether a byte of each object is flipped on its way to the client.
        on_put: called in the middle of the body of each PUT.
    """

    def __init__(self, port: int) -> None:
        self._behind = port
        self.seen: list[tuple[str, str, str]] = []
        self.refuse = 0
        self.delay = 0.0
        self.corrupt = False
        self.on_put = lambda: None
        self._serving = contextlib.ExitStack()
        self.port = self._serving.enter_context(serving(self._handler()))

    def stop(self) -> None:
        self._serving.close()

    def ranges(self) -> list[tuple[str, str]]:
        """Path and range of each read of a part of an object, listings left out."""
        return [(path, range) for method, path, range in self.seen if method == "GET" and range]

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def pass_on(self) -> None:
                proxy.seen.append((self.command, self.path, self.headers.get("Range", "")))
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                time.sleep(proxy.delay)
                if proxy.refuse > 0:
                    proxy.refuse -= 1
                    self.answer(503, [("Retry-After", "0")], b"<Error><Code>SlowDown</Code></Error>")
                    return
                behind = http.client.HTTPConnection("127.0.0.1", proxy._behind, timeout=30)
                try:
                    behind.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
                    for name, value in self.headers.items():
                        behind.putheader(name, value)
                    half = len(body) // 2
                    behind.endheaders(body[:half] or None)
                    if self.command == "PUT":
                        proxy.on_put()
                    if body[half:]:
                        behind.send(body[half:])
                    answer = behind.getresponse()
                    content = answer.read()
                    if proxy.corrupt and content and self.headers.get("Range"):
                        content = bytes([content[0] ^ 1]) + content[1:]
                    names = ("transfer-encoding", "connection", "content-length")
                    headers = [(name, value) for name, value in answer.getheaders() if name.lower() not in names]
                    length = answer.getheader("Content-Length", "") if self.command == "HEAD" else ""
                    self.answer(answer.status, headers, content, length)
                except (OSError, http.client.HTTPException):
                    self.close_connection = True
                    self.connection.close()
                finally:
                    behind.close()

            def answer(
                self, status: int, headers: list[tuple[str, str]], body: bytes, length: str | None = None
            ) -> None:
                self.send_response_only(status)
                for name, value in headers:
                    self.send_header(name, value)
                self.send_header("Content-Length", length or str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = pass_on

            def log_message(self, format: str, *args: object) -> None:
                pass

        return Handler


@contextlib.contextmanager
def running(folder: Path) -> Iterator[tuple[S3Server, Proxy]]:
    """A server and a proxy in front of it."""
    server = S3Server(folder).start()
    proxy = Proxy(server.port)
    try:
        yield server, proxy
    finally:
        proxy.stop()
        server.stop()
