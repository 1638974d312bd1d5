"""Having HDF5 written by a process of its own, so that no function loads h5py.

The process starts with the first request and ends when it has been idle. It serves one request at a time.
"""

from __future__ import annotations

import atexit
import importlib.util
import logging
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterable
from contextlib import suppress
from fractions import Fraction
from pathlib import Path

import msgspec

from shared.config import child_environment
from shared.decoding import json_decoder
from shared.errors import BadRequest, Busy, NotAcceptable, StorageFailed
from shared.strain.formats.hdf5_request import Channel, Layout, Reply, Request
from shared.volume.posix import storage_errors

log = logging.getLogger(__name__)

_TIMEOUT = 60.0  # seconds for a file; then the process is killed
_IDLE = 60.0  # seconds without a request, after which the process ends
_ROOT = Path(__file__).parents[2]


class Hdf5Process:
    """Writes HDF5 files. Safe to use from several threads.

    Args:
        folder: where the files are made; by default the folder of temporary files.
        timeout: seconds that a file may take.
        idle: seconds without a request, after which the process ends.
    """

    def __init__(self, folder: str | None = None, timeout: float = _TIMEOUT, idle: float = _IDLE) -> None:
        self._folder = folder
        self._timeout = timeout
        self._idle = idle
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._idle_timer: threading.Timer | None = None
        atexit.register(self.close)

    @staticmethod
    def present() -> bool:
        """Whether h5py and numpy, which write the files, are installed."""
        return all(importlib.util.find_spec(name) is not None for name in ("h5py", "numpy"))

    def write(
        self,
        layout: Layout,
        span: tuple[Fraction, Fraction],
        channels: list[Channel],
        samples: Iterable[bytes],
        event: str = "",
    ) -> Path:
        """Write a file; the caller removes it.

        Args:
            layout: names of datasets and attributes.
            span: the first GPS time that was asked for, and the one that ends it.
            channels: what the file is to hold.
            samples: those of all pieces one after another in blocks of any length, little-endian float64.
            event: name of the group in the layout `dtvirgo`; by default the first whole GPS second.

        Raises:
            NotAcceptable: h5py is not installed.
            BadRequest: the layout cannot hold these channels.
            Busy: the process did not finish in time, or died.
            StorageFailed: the file cannot be written.
        """
        if not self.present():
            raise NotAcceptable(
                "HDF5 needs h5py, which is not installed here: pip install h5py, or ask for another format"
            )
        if not self._lock.acquire(timeout=self._timeout):
            raise Busy("too many HDF5 files are being written: try again")
        try:
            self._stop_timer()
            with storage_errors("writing HDF5"):
                descriptor, output = tempfile.mkstemp(suffix=".hdf5", prefix="strain-", dir=self._folder)
                os.close(descriptor)
            start, end = (one.as_integer_ratio() for one in span)
            try:
                self._exchange(Request(layout, output, (start, end), channels, event), samples)
            except BaseException:
                self._end()  # what it has read of the request is unknown
                with suppress(FileNotFoundError):
                    os.unlink(output)
                raise
            self._idle_timer = threading.Timer(self._idle, self._end_idle)
            self._idle_timer.daemon = True
            self._idle_timer.start()
        finally:
            self._lock.release()
        return Path(output)

    def close(self) -> None:
        """End the process."""
        with self._lock:
            self._stop_timer()
            self._end()

    def _exchange(self, request: Request, samples: Iterable[bytes]) -> None:
        process = self._process = self._process or self._start()
        assert process.stdin is not None
        assert process.stdout is not None
        overdue = threading.Timer(self._timeout, process.kill)
        overdue.daemon = True
        overdue.start()
        try:
            with suppress(BrokenPipeError):  # the reply says why
                process.stdin.write(msgspec.json.encode(request) + b"\n")
                for block in samples:
                    process.stdin.write(block)
                process.stdin.flush()
            line = process.stdout.readline()
        finally:
            overdue.cancel()
        if not line:
            log.error("the process that writes HDF5 did not finish")
            raise Busy(f"the HDF5 file was not written within {self._timeout:g} s: try again, or ask for less")
        reply = json_decoder(Reply).decode(line)
        if reply.rejected:
            raise BadRequest(reply.error)
        if reply.error:
            raise StorageFailed(f"writing HDF5: {reply.error}")

    def _start(self) -> subprocess.Popen[bytes]:
        env = child_environment(str(_ROOT), OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1")
        command = [sys.executable, "-m", "shared.strain.formats.hdf5"]
        # A session of its own: Ctrl-C is for this process, which ends the other.
        return subprocess.Popen(  # noqa: S603
            command, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True
        )

    def _end_idle(self) -> None:
        if self._lock.acquire(blocking=False):  # otherwise it is not idle
            try:
                if self._idle_timer is threading.current_thread():
                    self._end()
            finally:
                self._lock.release()

    def _end(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            with suppress(BrokenPipeError):
                process.communicate()

    def _stop_timer(self) -> None:
        timer, self._idle_timer = self._idle_timer, None
        if timer is not None:
            timer.cancel()
