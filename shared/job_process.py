"""Jobs: long work in a process of its own, `python -m <module>`, one at a time, which ends with this process.

Ingest does not stall meanwhile, a crash or a runaway allocation of the science libraries takes nothing with it, and
their licence (GPL-3) ends at the process boundary. A job prints nothing when it has done its work, and otherwise one
line of JSON with the error's code and text. Its log lines have the trace of the request that it works for.
"""

from __future__ import annotations

import atexit
import logging
import subprocess
import sys
from pathlib import Path

import msgspec

from shared import log_format
from shared.config import child_environment, telemetry_from_env, trace_from_env
from shared.decoding import json_decoder
from shared.domain.messages import ErrorBody
from shared.errors import Busy, DatastoreError
from shared.trace_context import CURRENT, child, outgoing, parse

log = logging.getLogger(__name__)

WAIT = "--wait"  # the argument of a job that is prepared
_ROOT = Path(__file__).parents[1]


class _Order(msgspec.Struct):
    """What a job that was prepared is to do: its arguments, and the trace in which it does it."""

    arguments: list[str]
    trace: dict[str, str] = {}


class JobProcess:
    """Runs jobs of one kind.

    Args:
        module: what is run, `shared.<package>.job`; messages call it by its package.
        timeout: seconds that a job may take.
    """

    def __init__(self, module: str, timeout: float) -> None:
        self._module, self._name = module, module.split(".")[-2]
        self._timeout = timeout
        self._process: subprocess.Popen[bytes] | None = None
        self._ready: subprocess.Popen[bytes] | None = None
        self.stopping = False
        atexit.register(self.stop)

    def prepare(self) -> None:
        """Have a process ready for the next `run`, which has imported its libraries then: `python -m <module> --wait`.

        It ends by itself when this process does. Called by the thread that calls `run`, as `dismiss`.
        """
        if not self.stopping and (self._ready is None or self._ready.poll() is not None):
            self._ready = self._start(WAIT)

    def dismiss(self) -> None:
        """End the process that is ready, if there is one."""
        ready, self._ready = self._ready, None
        if ready is not None:
            ready.communicate()  # its standard input ends

    def run(self, *arguments: str) -> ErrorBody | None:
        """Do the work; return the error that the job reports, None if it reports none.

        Raises:
            Busy: it took too long, or ended without a report.
        """
        ready, self._ready = self._ready, None
        process, order = ready or self._start(*arguments), b""
        if ready is not None and ready.poll() is None:
            order = msgspec.json.encode(_Order(list(arguments), outgoing())) + b"\n"
        elif ready is not None:  # ended meanwhile
            ready.communicate()
            process = self._start(*arguments)
        with process:
            self._process = process
            if self.stopping:
                process.kill()
            try:
                output, _ = process.communicate(order, timeout=self._timeout)
            except subprocess.TimeoutExpired:
                process.kill()
                raise Busy(f"{self._name} took more than {self._timeout:g} s") from None
            finally:
                self._process = None
        if process.returncode == 0:
            return None
        try:
            return json_decoder(ErrorBody).decode(output)
        except msgspec.DecodeError:
            raise Busy(f"{self._name} ended with {process.returncode}; its log says why") from None

    def _start(self, *arguments: str) -> subprocess.Popen[bytes]:
        # One thread: ingest and the writer share these cores.
        env = child_environment(str(_ROOT), OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1")
        env |= {name.upper(): value for name, value in outgoing().items()}
        command = [sys.executable, "-m", self._module, *arguments]
        # A session of its own: an operator's Ctrl-C is for this process, which ends the job.
        return subprocess.Popen(  # noqa: S603
            command, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True
        )

    def kill(self) -> None:
        """End the job under way, if there is one."""
        process = self._process
        if process is not None:
            process.kill()

    def stop(self) -> None:
        """End the job under way and begin no other; what is not in place is made anew later."""
        self.stopping = True
        self.kill()
        ready = self._ready
        if ready is not None:
            ready.kill()
            ready.wait()


def begin(name: str) -> None:
    """Set up, in a job of this name, its log and its trace."""
    log_format.set_up(name, as_json=telemetry_from_env().log_json, level=logging.WARNING)
    _take_over(*trace_from_env())


def _take_over(traceparent: str = "", tracestate: str = "") -> None:
    CURRENT.set(child(parse(traceparent, tracestate)))


def arguments() -> list[str] | None:
    """The arguments of this job; for one that was prepared, when its order comes. None if none comes.

    A job that takes `--wait` must have imported its libraries before.
    """
    if sys.argv[1:] != [WAIT]:
        return sys.argv[1:]
    line = sys.stdin.buffer.readline()
    if not line:
        return None
    order = json_decoder(_Order).decode(line)
    _take_over(**order.trace)
    return order.arguments


def report(error: Exception) -> int:
    """Print, in the job, why the work is not done; return the exit code. An unforeseen error is logged, too."""
    text = str(error)
    if not isinstance(error, DatastoreError):
        log.error("the job failed", exc_info=error)
        text = f"{type(error).__name__}: {error}"
    code = error.code if isinstance(error, DatastoreError) else DatastoreError.code
    print(msgspec.json.encode(ErrorBody(code, text)).decode(), flush=True)
    return 1
