"""Spectrograms of one piece of strain, and the processes that make several pieces at the same time."""

from __future__ import annotations

import contextlib
import functools
import gc
import logging
import multiprocessing
import os
import shutil
import threading
from array import array
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from importlib.metadata import version
from types import ModuleType
from typing import NamedTuple

from shared.errors import Busy
from shared.preproc.pieces import refusal
from shared.strain import joining
from shared.strain.constant_runs import between, constant_runs
from shared.strain.joining import ChannelStrain, ContiguousStrain
from shared.volume.made_files import File, describe

log = logging.getLogger(__name__)

MAX_PARTS = 16  # spectrograms of one piece, which runs of equal samples divide
_AHEAD = 2  # pieces in memory for each process


class Task(NamedTuple):
    """A piece of a stream to transform.

    Attributes:
        folder: an empty folder is made there for each spectrogram: `<folder>-<number>`.
        stream: names and rate; its stretches are not needed.
        piece: the strain.
        samples: of the piece, float64.
        thumbnail: whether to make a small picture too.
    """

    folder: str
    stream: ChannelStrain
    piece: ContiguousStrain
    samples: array[float]
    thumbnail: bool


class Maxima(NamedTuple):
    """The loudest pixel of every column of a spectrogram: `energies` from the GPS time `t0` on, `dt` seconds apart."""

    t0: float
    dt: float
    energies: array[float]


class Made(NamedTuple):
    """What was made of a part of a piece.

    Attributes:
        verdict: "done", "too short", "no signal", "failed" or "left out".
        span: of the part, GPS seconds.
        reason: for another verdict than "done".
        about: of a spectrogram, as the manifest has it.
        folder: of the spectrogram.
        files: of the spectrogram, named as in that folder.
        maxima: of the spectrogram.
    """

    verdict: str
    span: tuple[float, float]
    reason: str = ""
    about: Mapping[str, object] = {}
    folder: str = ""
    files: tuple[File, ...] = ()
    maxima: Maxima | None = None

    @property
    def report(self) -> dict[str, object]:
        """The manifest's entry."""
        folder = {"folder": os.path.basename(self.folder)} if self.folder else {}
        reason = {"reason": self.reason} if self.reason else {}
        return {"verdict": self.verdict, **reason, "strain": self.span, **folder, **self.about}


def transform(task: Task) -> list[Made]:
    """Make the spectrograms of a piece; what cannot be transformed is reported, and not tried again.

    Runs of equal samples are left out, because whitening would turn their ends into glitches.

    Raises:
        OSError, MemoryError: not the strain's fault, so worth another try.
    """
    stream, piece, samples = task.stream, task.piece, task.samples
    made: list[Made] = []
    runs = constant_runs(samples, stream.rate)
    for first, n in runs:
        span = stream.span(joining.part_of(stream, piece, first, n))
        made.append(Made("no signal", span, f"{n} equal samples"))
    for number, (first, n) in enumerate(between(runs, len(samples))):
        part = joining.part_of(stream, piece, first, n)
        refused = refusal(n / stream.rate, stream.rate)
        if refused is None and number >= MAX_PARTS:
            refused = "left out", f"runs of equal samples divide the piece into more than {MAX_PARTS} parts"
        if refused is not None:
            verdict, reason = refused
            made.append(Made(verdict, stream.span(part), reason))
        else:
            made.append(_one(task, f"{task.folder}-{number}", part, samples[first : first + n] if runs else samples))
    return made


@functools.cache
def science() -> ModuleType:
    """The module that knows gwpy, which takes seconds to import: only where there is something to transform."""
    gc.disable()  # a tenth of the time; the libraries stay, so that no collection need look at them
    from shared.preproc import spectrogram

    gc.freeze()
    gc.enable()
    return spectrogram


def versions() -> dict[str, str]:
    """The versions of what the numbers depend on."""
    return {name: version(name) for name in ("gwpy", "numpy", "scipy", "astropy", "matplotlib", "h5py")}


def _one(task: Task, folder: str, part: ContiguousStrain, samples: array[float]) -> Made:
    span = task.stream.span(part)
    os.mkdir(folder)
    try:
        about, maxima = science().write(folder, samples, part.t0, task.stream, thumbnail=task.thumbnail)
    except (OSError, MemoryError):
        raise
    except Exception as error:
        log.warning("%s: no spectrogram", task.stream.channel or os.path.basename(folder), exc_info=True)
        shutil.rmtree(folder)
        return Made("failed", span, f"{type(error).__name__}: {error}")
    gc.collect()  # figures are cycles of 60 MB
    files = tuple(describe(folder, name) for name in sorted(os.listdir(folder)))
    return Made("done", span, "", about, folder, files, Maxima(*maxima))


def processes(most: int, pieces: int) -> int:
    """The number of processes for so many pieces: at most `most`, and one for each core that this one may use."""
    return max(1, min(most, pieces, len(os.sched_getaffinity(0))))


def transform_all(tasks: Iterable[Task], count: int) -> Iterator[list[Made]]:
    """What `transform` makes of each task, in their order. At most two tasks for each of `count` processes wait.

    Raises:
        OSError, MemoryError: as `transform`.
        Busy: a process ended, as by the kernel when memory is short.
    """
    if count == 1:
        yield from map(transform, tasks)
        return
    science()  # before the processes are forked, so that it is imported once
    reading, writing = os.pipe()
    pool = ProcessPoolExecutor(
        count, multiprocessing.get_context("fork"), initializer=_end_with_parent, initargs=(reading, writing)
    )
    try:
        waiting: deque[Future[list[Made]]] = deque()
        for task in tasks:
            waiting.append(pool.submit(transform, task))
            del task
            if len(waiting) >= _AHEAD * count:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    except BrokenProcessPool:
        raise Busy("a process of preproc ended while it made a spectrogram; is there enough memory?") from None
    finally:
        pool.shutdown(cancel_futures=True)
        os.close(writing)
        os.close(reading)


def _end_with_parent(reading: int, writing: int) -> None:
    """End this process when the one that forked it has ended, however it did: only that one can write to the pipe."""
    os.close(writing)

    def wait() -> None:
        with contextlib.suppress(OSError):
            os.read(reading, 1)
        os._exit(1)

    threading.Thread(target=wait, name="end-with-parent", daemon=True).start()
