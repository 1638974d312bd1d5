"""The state file: which segments of a stream the store has acknowledged, so that an interrupted stream goes on."""

from __future__ import annotations

import contextlib
import json
import os
import time
import uuid
from pathlib import Path

from client.errors import NoData

_EVERY = 0.5  # seconds between two saves; what was acknowledged since is sent again with its key, and not stored again


class StateFile:
    """Progress of one stream, on disk before its first segment is sent and replaced in one step ever after.

    Args:
        path: of the file; it is removed when the stream is complete.
        stream: names the stream: what is sent where, and in what pieces.
        count: how many segments there are.

    Raises:
        NoData: the file is of another stream, or not a state file.
    """

    def __init__(self, path: Path, stream: str, count: int) -> None:
        self._path = path
        self._stream = stream
        self._next = 0  # all before this one are acknowledged,
        self._beyond: set[int] = set()  # and these
        self._saved = 0.0
        self.count = count
        self.run = uuid.uuid4().hex[:16]
        self.resumed = path.exists()
        if self.resumed:
            self._load()
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            self.save()

    @property
    def done(self) -> int:
        """How many segments are acknowledged."""
        return self._next + len(self._beyond)

    def missing(self) -> list[int]:
        """The segments that are not, in order."""
        return [number for number in range(self._next, self.count) if number not in self._beyond]

    def acknowledge(self, number: int) -> None:
        """Note that the store holds a segment."""
        self._beyond.add(number)
        while self._next in self._beyond:
            self._beyond.remove(self._next)
            self._next += 1
        if time.monotonic() - self._saved > _EVERY:
            self.save()

    def save(self) -> None:
        """Write the file so that it survives the machine: same-folder temp, sync, rename, sync folder."""
        self._saved = time.monotonic()
        content = {"stream": self._stream, "run": self.run, "next": self._next, "beyond": sorted(self._beyond)}
        temp = self._path.with_name(f"{self._path.name}.next")
        with temp.open("w") as file:
            json.dump(content, file)
            file.flush()
            os.fsync(file.fileno())
        temp.replace(self._path)
        self._sync_folder()

    def finish(self) -> None:
        """Remove the file: the next stream of the same strain is a new one."""
        with contextlib.suppress(FileNotFoundError):
            self._path.unlink()
        self._sync_folder()

    def _sync_folder(self) -> None:
        folder = os.open(self._path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

    def _load(self) -> None:
        try:
            content = json.loads(self._path.read_text())
            stream, self.run, self._next = content["stream"], str(content["run"]), int(content["next"])
            self._beyond = {int(number) for number in content["beyond"]}
        except (ValueError, KeyError, TypeError, OSError) as error:
            raise NoData(f"{self._path}: not a state file ({error}); remove it, or use --restart") from None
        if stream != self._stream:
            raise NoData(f"{self._path} belongs to another stream; name another --state, or use --restart")
