"""The resume file: which segments of a stream are acknowledged, so that an interrupted stream continues."""

from __future__ import annotations

import contextlib
import json
import os
import threading
import time
import uuid
from pathlib import Path

from gwclient.errors import NoData

_SAVE_INTERVAL = 0.5  # seconds; segments acknowledged since the last save are sent again, with the same keys


class ResumeFile:
    """The progress of one stream, on disk before its first segment is sent, replaced atomically afterwards.

    It has to be there first, because it holds the part of the idempotency keys that a repetition needs. `close` removes
    it again if the store cannot hold any of the segments. `save` may run on another thread than the rest.

    Args:
        path: of the file; `finish` removes it.
        stream: identifies the strain, its segments and the URL.
        count: number of segments.

    Attributes:
        run: part of every idempotency key; a later stream of the same strain has another one.
        resumed: the file existed.
        unsettled: requests that the store may have carried out, whatever their response.

    Raises:
        NoData: the file belongs to another stream, or is not a resume file.
    """

    def __init__(self, path: Path, stream: str, count: int) -> None:
        self._path = path
        self._stream = stream
        self._next = 0  # all segments before this one are acknowledged,
        self._beyond: set[int] = set()  # and these
        self._saved = 0.0
        self._lock = threading.Lock()  # of the two above; not held while a disk is waited for
        self._writing = threading.Lock()  # of the file
        self._finished = False
        self.count = count
        self.unsettled = 0
        self.run = uuid.uuid4().hex[:16]
        self.resumed = path.exists()
        if self.resumed:
            self._load()
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            self.save()

    @property
    def done(self) -> int:
        """The number of acknowledged segments."""
        return self._next + len(self._beyond)

    def missing(self) -> list[int]:
        """The segments that are not acknowledged, in order."""
        return [number for number in range(self._next, self.count) if number not in self._beyond]

    def acknowledge(self, number: int) -> None:
        """Record that the store holds a segment."""
        with self._lock:
            self._beyond.add(number)
            while self._next in self._beyond:
                self._beyond.remove(self._next)
                self._next += 1

    @property
    def due(self) -> bool:
        """True once every half second: `save` should be called."""
        return time.monotonic() - self._saved > _SAVE_INTERVAL

    def save(self) -> None:
        """Write the file so that it survives a power failure: temporary file, sync, rename, sync of the folder."""
        self._saved = time.monotonic()
        with self._writing:
            if self._finished:
                return
            with self._lock:
                content = {"stream": self._stream, "run": self.run, "next": self._next, "beyond": sorted(self._beyond)}
            temp = self._path.with_name(f"{self._path.name}.next")
            with temp.open("w") as file:
                json.dump(content, file)
                file.flush()
                os.fsync(file.fileno())
            temp.replace(self._path)
            sync_folder(self._path.parent)

    def close(self) -> None:
        """Save the file, or remove it if nothing can have been stored."""
        if self.done or self.unsettled or self.resumed:
            self.save()
        else:
            self.finish()

    def finish(self) -> None:
        """Remove the file, so that the next stream of the same strain is a new one."""
        with self._writing:
            self._finished = True
            with contextlib.suppress(FileNotFoundError):
                self._path.unlink()
            sync_folder(self._path.parent)

    def _load(self) -> None:
        try:
            content = json.loads(self._path.read_text())
            stream, self.run, self._next = content["stream"], str(content["run"]), int(content["next"])
            self._beyond = {int(number) for number in content["beyond"]}
        except (ValueError, KeyError, TypeError, OSError) as error:
            raise NoData(f"{self._path}: not a state file ({error}); remove it, or use --restart") from None
        if stream != self._stream:
            raise NoData(f"{self._path} belongs to another stream; name another --state, or use --restart")


def sync_folder(path: Path) -> None:
    """Make names in a folder durable."""
    folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def default_folder() -> Path:
    """The folder of resume files (XDG Base Directory Specification).

    Raises:
        NoData: the user has no home.
    """
    try:
        return Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state") / "gwclient"
    except RuntimeError:
        raise NoData("there is no home folder for the state file; give one with --state, or XDG_STATE_HOME") from None
