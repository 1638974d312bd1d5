"""Functions as processes, without the half second of CPU that importing their libraries takes at each start.

A store that is started for one test need not import everything again. The fork server has imported the libraries and
what lies below the functions, and runs no other thread. For each request it forks a child in a session of its own, with
the request's environment and log and nothing else open, which from there on does what `python -m shared.serve` does,
to the end of the interpreter. It imports the functions and `shared.web`, to which a process's own numbers belong.
Stores that are shared by many tests do without it.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import gc
import importlib
import json
import os
import runpy
import select
import signal
import socket
import subprocess
import sys
import threading
from typing import BinaryIO, NoReturn

from shared import failpoints
from tests.support import ROOT

LIBRARIES = (
    "flask", "functions_framework", "functions_framework.aio", "starlette.applications", "starlette.requests",
    "uvicorn", "uvicorn.lifespan.on", "uvicorn.loops.uvloop", "uvicorn.protocols.http.httptools_impl",
    "uvicorn.protocols.websockets.auto", "uvloop", "gunicorn.app.base", "gunicorn.arbiter", "gunicorn.workers.gthread",
    "gunicorn.glogging", "msgspec", "msgspec.json", "prometheus_client", "pyreqwest.client", "pyreqwest.exceptions",
    "fsspec", "fsspec.implementations.local", "cloudevents.http",
)  # fmt: skip

BELOW_FUNCTIONS = ("shared.auth.guard", "shared.events", "shared.storage.outbox", "shared.storage.reader")


# -- in the tests' process ------------------------------------------------------------------------------------------


class Child:
    """A process that the fork server has started, with the part of `subprocess.Popen` that tests use."""

    def __init__(self, report: BinaryIO) -> None:
        self._report = report  # a line with the process id, and one with the return code
        self._lock = threading.Lock()
        self.pid = int(report.readline())
        self.returncode: int | None = None

    def wait(self, timeout: float | None = None) -> int:
        with self._lock:
            if self.returncode is None:
                if not select.select([self._report], [], [], timeout)[0]:
                    raise subprocess.TimeoutExpired(f"process {self.pid}", timeout or 0)
                self.returncode = int(self._report.readline())
                self._report.close()
            return self.returncode

    def poll(self) -> int | None:
        try:
            return self.wait(0)
        except subprocess.TimeoutExpired:
            return None

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            with contextlib.suppress(ProcessLookupError):  # it has ended, and the report of it is under way
                os.kill(self.pid, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


@functools.cache
def _requests(preload: str) -> socket.socket:
    """The way to this process's fork server, which is started now and ends with this process.

    Args:
        preload: libraries that the loader put before all others when the server started, and which its children have.
    """
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with theirs:
        server = subprocess.Popen(
            [sys.executable, "-W", "ignore", "-m", "tests.support.fork_server", str(theirs.fileno())],
            cwd=ROOT,
            env={
                **{name: os.environ[name] for name in ("PATH", "HOME", "LANG", "TMPDIR") if name in os.environ},
                "LD_PRELOAD": preload,
            },
            stdin=subprocess.DEVNULL,
            pass_fds=[theirs.fileno()],
            start_new_session=True,
        )

    def end() -> None:
        ours.close()
        server.wait()

    atexit.register(end)
    return ours


def fork(environment: dict[str, str], log: BinaryIO) -> Child:
    """Start the function that the environment describes."""
    report, sending = os.pipe()
    try:
        socket.send_fds(
            _requests(environment.get("LD_PRELOAD", "")), [json.dumps(environment).encode()], [log.fileno(), sending]
        )
    finally:
        os.close(sending)
    return Child(os.fdopen(report, "rb", buffering=0))


# -- in the fork server ---------------------------------------------------------------------------------------------


def serve(requests: socket.socket) -> None:
    """Fork children until the socket is closed, then exit; return in each child, ready to be a function."""
    reports: dict[int, int] = {}  # process id -> where to report its end
    ended, wakeup = socket.socketpair()
    wakeup.setblocking(False)
    signal.set_wakeup_fd(wakeup.fileno(), warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    while True:
        ready, _, _ = select.select([requests, ended], [], [])
        if ended in ready:
            ended.recv(4096)
            _report_ended(reports)
        if requests not in ready:
            continue
        packet, descriptors, _, _ = socket.recv_fds(requests, 1 << 20, 2)
        if not packet:
            sys.exit()
        log, report = descriptors
        if pid := os.fork():
            reports[pid] = report
            os.write(report, b"%d\n" % pid)
            os.close(log)
        else:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            _become(json.loads(packet), log)
            return


def _report_ended(reports: dict[int, int]) -> None:
    while reports:
        pid, status = os.waitpid(-1, os.WNOHANG)
        if not pid:
            return
        report = reports.pop(pid)
        os.write(report, b"%d\n" % os.waitstatus_to_exitcode(status))
        os.close(report)


def _become(environment: dict[str, str], log: int) -> None:
    os.setsid()
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.closerange(3, os.sysconf("SC_OPEN_MAX"))
    os.environ.clear()
    os.environ.update(environment)
    with contextlib.suppress(ValueError):  # the function will say it
        importlib.reload(failpoints)  # the only one of these modules that reads the environment as it is imported
    del sys.argv[1:]  # this server's own


def _serve() -> int:
    """What `python -m shared.serve` does; return its exit code."""
    try:
        runpy.run_module("shared.serve", run_name="__main__", alter_sys=True)
    except SystemExit as end:
        if not isinstance(end.code, int | None):
            raise
        return end.code or 0
    return 0


def _end(code: int) -> NoReturn:
    """End as the interpreter does, but do not take apart what is shared with the server: each page would be copied."""
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    for module in (*LIBRARIES, *BELOW_FUNCTIONS):
        importlib.import_module(module)
    assert len(os.listdir("/proc/self/task")) == 1, "a library has started a thread: nothing may be forked from here"
    gc.freeze()  # the libraries stay: no collection, not even the last one at the end, need look at them
    serve(socket.socket(fileno=int(sys.argv[1])))
    if "COVERAGE_PROCESS_CONFIG" in os.environ:  # an interpreter that starts with it does the same
        importlib.import_module("coverage").process_startup()
    _end(_serve())
