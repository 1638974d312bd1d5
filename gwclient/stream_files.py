"""Streaming files one after another: a list of them, or a folder in which new ones appear under their final names."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import re
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import uvloop

from gwclient.blocks import Blocks
from gwclient.errors import NoData
from gwclient.progress import Displays, displays
from gwclient.resume_file import ResumeFile, sync_folder
from gwclient.sources import SEVERAL, Strain
from gwclient.upload import Pacer, Payloads, Upload, UploadOptions, upload_all

_LOOK = 0.5  # seconds between two looks into a folder
_GPS = re.compile(r"-(\d{9,10})-\d+\.[^.]+$")  # the start in the name of a frame file, LIGO-T010150

Say = Callable[[str], object]


class SentFiles:
    """The files that have been sent whole, and the states of those that have not, in a folder.

    A file is known by its name, so that it may be moved, and is sent once although it may be written anew.

    Attributes:
        folder: is made if it is not there.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._path = folder / "sent"
        folder.mkdir(parents=True, exist_ok=True)
        *lines, torn = self._path.read_bytes().split(b"\n") if self._path.exists() else [b""]
        self._names = {os.fsdecode(line) for line in lines}
        if torn:
            os.truncate(self._path, self._path.stat().st_size - len(torn))
        for name in self._names:
            self.state(name).unlink(missing_ok=True)

    def __contains__(self, name: str) -> bool:
        return name in self._names

    def __len__(self) -> int:
        return len(self._names)

    def state(self, name: str) -> Path:
        """Where the state of a file is kept while it is sent."""
        return self.folder / f"{hashlib.sha256(os.fsencode(name)).hexdigest()[:32]}.json"

    def add(self, name: str) -> None:
        """Record, durably, that all of a file is stored."""
        with self._path.open("ab") as file:
            file.write(os.fsencode(name) + b"\n")
            file.flush()
            os.fsync(file.fileno())
        sync_folder(self.folder)
        self._names.add(name)

    def restart(self) -> None:
        """Forget all files."""
        for path in (*self.folder.glob("*.json*"), self._path):
            path.unlink(missing_ok=True)
        self._names.clear()

    def forget(self) -> None:
        """Remove all states, so that the next stream of the same files is a new one."""
        self.restart()
        with contextlib.suppress(OSError):
            self.folder.rmdir()


class Opened(NamedTuple):
    """A file whose channels have been read, its size, and when it was changed."""

    path: Path
    identity: tuple[int, int]
    blocks: Blocks


@dataclass(kw_only=True)
class FileStream:
    """Sends files in blocks, each sample once, also where it is interrupted.

    Attributes:
        read: reads the channels of a file, into the memory of those that are not needed any more.
        url: a /streamdata or a /sendF.
        stream_id: identifies what is sent where, apart from the files.
        sent: what has been sent.
        options: see `UploadOptions`; `in_flight` for a size of blocks.
        say: called with texts for people.
    """

    read: Callable[[Path, Sequence[Strain]], Blocks]
    url: str
    stream_id: str
    sent: SentFiles
    options: Callable[[int], UploadOptions]
    say: Say
    _stop: threading.Event = field(default_factory=threading.Event)
    _sending: dict[str, ResumeFile] = field(default_factory=dict)
    _count: int = 0

    def send(self, paths: Sequence[Path]) -> int:
        """Send files in order, those that are sent left out; return the number of blocks.

        Raises:
            NoData: one of them cannot be read, or has changed since it was sent in part.
            ClientError: as `upload`.
        """
        names = [path.name for path in paths]
        for name in names:
            if names.count(name) > 1:
                raise NoData(f"two files are called {name}, and files are known by their names: send one by itself")
        return self._send(path for path in paths if path.name not in self.sent)

    def follow(self, folder: Path) -> int:
        """Send the files in a folder, and those that appear in it, until the process ends.

        A file that cannot be read is named, and tried again when it has changed.

        Raises:
            ClientError: as `upload`.
        """
        return self._send(self._appearing(folder), self._leave_out)

    def _send(self, paths: Iterator[Path], complain: Callable[[Path, NoData], None] | None = None) -> int:
        """The files, each read while the one before is sent, into the memory of the one before that."""
        read: list[Sequence[Strain]] = [(), ()]

        def following() -> Opened | None:
            for path in paths:
                try:
                    identity = _identity(path)
                    blocks = self.read(path, read[0])  # whose bodies are all made, because read[1] has been taken
                except NoData as error:
                    if complain is None:
                        raise
                    complain(path, error)
                else:
                    read[:] = read[1], blocks.channels
                    return Opened(path, identity, blocks)
            return None

        options = self.options(1)
        pacer = Pacer(options.rate)
        with ThreadPoolExecutor(1) as reader, displays("blocks") as display:
            try:
                uvloop.run(upload_all(self._uploads(reader, following, pacer, display), self.url, options, pacer))
            finally:
                self._stop.set()
                for resume in self._sending.values():
                    resume.close()
        return self._count

    async def _uploads(
        self, reader: Executor, following: Callable[[], Opened | None], pacer: Pacer, display: Displays
    ) -> AsyncIterator[tuple[Payloads, Upload]]:
        future = reader.submit(following)
        while True:
            awaited = not future.done()
            if (opened := await asyncio.wrap_future(future)) is None:
                return
            future = reader.submit(following)
            if awaited:
                pacer.restart()
            if opened.path.name not in self.sent and opened.path.name not in self._sending:
                yield opened.blocks, await asyncio.to_thread(self._begin, opened, display)

    def _begin(self, opened: Opened, display: Displays) -> Upload:
        name, blocks = opened.path.name, opened.blocks
        identity = hashlib.sha256(repr((self.stream_id, name, opened.identity)).encode()).hexdigest()
        resume = ResumeFile(self.sent.state(name), identity, blocks.count)
        self._sending[name] = resume
        if resume.resumed:
            self.say(f"{name}: going on after {resume.done} of {resume.count} blocks")
        self._count += resume.count - resume.done
        shown = display(name, resume.done, resume.count)

        def stored() -> None:
            self.sent.add(name)
            resume.finish()
            del self._sending[name]
            shown.close()

        in_flight = self.options(blocks.size).in_flight
        return Upload(resume=resume, progress=shown, in_flight=in_flight, stored=stored)

    def _appearing(self, folder: Path) -> Iterator[Path]:
        given: dict[str, tuple[int, int]] = {}
        while not self._stop.is_set():
            found = []
            for path in frame_files(folder):
                with contextlib.suppress(NoData):  # gone at this moment
                    if path.name not in self.sent and given.get(path.name) != (identity := _identity(path)):
                        found.append((path, identity))
            for path, identity in found:
                given[path.name] = identity
                yield path
            given = {name: identity for name, identity in given.items() if name not in self.sent}
            self._stop.wait(0 if found else _LOOK)

    def _leave_out(self, path: Path, error: NoData) -> None:
        text = str(error)
        self.say(f"{text if path.name in text else f'{path}: {text}'}; left out until it changes")


def frame_files(folder: Path) -> list[Path]:
    """The files in a folder from which several channels are read, by GPS time in their name, then by name.

    Names that begin with a dot are files that are not whole yet.

    Raises:
        NoData: there is no such folder.
    """
    try:
        found = [path for path in folder.iterdir() if path.suffix.lower() in SEVERAL and path.name[0] != "."]
    except OSError as error:
        raise NoData(f"{folder}: {error.strerror}") from None
    return sorted((path for path in found if path.is_file()), key=lambda path: (_start(path.name), path.name))


def _start(name: str) -> int:
    found = _GPS.search(name)
    return int(found[1]) if found else 0


def _identity(path: Path) -> tuple[int, int]:
    try:
        status = path.stat()
    except OSError as error:
        raise NoData(f"{path}: {error.strerror}") from None
    return status.st_size, status.st_mtime_ns
