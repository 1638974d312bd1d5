"""The place that ARCHIVE_URL names: objects put, read back, listed. The one module that knows its file system."""

from __future__ import annotations

import contextlib
import hashlib
import os
import secrets
import time
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import msgspec
from fsspec.core import url_to_fs
from fsspec.implementations.local import LocalFileSystem

from shared.config import ConfigError, StoreConfig
from shared.decoding import json_decoder
from shared.errors import DatastoreError, RemoteFailed
from shared.volume.posix import fsync_directory, sync_filesystem

_UNDER_WAY = ".part-"  # in names of files that are being written
_ABANDONED = 3600.0  # seconds after which nobody writes them any more
_WHOLE = 96 << 20  # bytes; less is put by one request, of which nothing stays when it is cut off
_PART = 32 << 20  # bytes of a longer object's parts, and of ranges read back
# An S3 server that hangs must not hold a request for minutes.
_S3 = {"connect_timeout": 5, "read_timeout": 20, "retries": {"max_attempts": 1}}
_ATTEMPTS = 3  # of s3fs, around those


class Put(NamedTuple):
    """What was put: bytes, and their SHA-256 in hex."""

    size: int
    sha256: str


class Place:
    """Objects below ARCHIVE_URL, by paths relative to it. Safe to use from several threads.

    Args:
        config: names it, with its options.

    Raises, when made:
        RemoteFailed: the library for this kind of URL is not installed, or refuses it.
    """

    def __init__(self, config: StoreConfig) -> None:
        options = _options(config)
        if config.archive_url.startswith(("s3:", "s3a:")):
            options["config_kwargs"] = {**_S3, **options.get("config_kwargs", {})}
            options.setdefault("default_block_size", _PART)
        options.setdefault("use_listings_cache", False)
        try:
            self._fs, self._root = url_to_fs(config.archive_url, **options)
        except ImportError as error:
            raise RemoteFailed(
                f"ARCHIVE_URL needs {error.name or error}: install it, for s3:// the extra `s3`"
            ) from None
        except (ValueError, TypeError) as error:
            raise RemoteFailed(f"ARCHIVE_URL cannot be used: {type(error).__name__}: {error}") from None
        if hasattr(self._fs, "retries"):
            self._fs.retries = _ATTEMPTS
        self._local = isinstance(self._fs, LocalFileSystem)

    def put(self, path: str, chunks: Iterable[bytes]) -> Put:
        """Put an object, whole or not at all on an object store and in a folder. In a folder, `sync` keeps its name.

        Raises:
            RemoteFailed: it was not put, or only a part of it.
            DatastoreError: as `chunks` raises; the object may be there in part.
        """
        digest, size = hashlib.sha256(), 0
        held: list[bytes] = []
        waiting = 0
        file: Any = None
        full = target = self._path(path)
        if self._local:  # under a name of its own, and renamed: as whole as an object store's
            full = f"{target}{_UNDER_WAY}{secrets.token_hex(8)}"
        try:
            with _remote(f"putting {path}"):
                self._make_folder(full)
                for chunk in chunks:
                    digest.update(chunk)
                    size += len(chunk)
                    held.append(chunk)
                    waiting += len(chunk)
                    if waiting > (_WHOLE if file is None else _PART):
                        file = file or self._fs.open(full, "wb", block_size=_PART)
                        file.write(b"".join(held))
                        held, waiting = [], 0
                rest = b"".join(held)
                held.clear()  # the memory of a piece
                if file is None:
                    self._fs.pipe_file(full, rest)
                else:
                    file.write(rest)
                    file.close()
                if self._local:
                    _put_in_place(full, target)
        except BaseException:
            if file is not None:
                _discard(file)
            if self._local:
                with contextlib.suppress(OSError):
                    os.unlink(full)
            raise
        return Put(size, digest.hexdigest())

    def create(self, path: str, content: bytes) -> None:
        """Put a small object that is not there yet; where the place cannot tell, it is replaced.

        Raises:
            RemoteFailed: it was not put, or is there already.
        """
        full = self._path(path)
        with _remote(f"creating {path}"):
            self._make_folder(full)
            if self._local:
                if os.path.exists(full):
                    raise FileExistsError(full)
                self.put(path, [content])
                return
            try:
                self._fs.pipe_file(full, content, mode="create")
            except Exception:
                if self._fs.exists(full):
                    raise
                self._fs.pipe_file(full, content)  # a place that knows no condition

    def read(self, path: str, start: int = 0, stop: int | None = None) -> bytes:
        """The bytes of an object from `start` to before `stop`.

        Raises:
            RemoteFailed: they cannot be read, or are fewer.
        """
        with _remote(f"reading {path}"):
            content: bytes = self._fs.cat_file(self._path(path), start=start, end=stop)
        if stop is not None and len(content) != stop - start:
            raise RemoteFailed(f"reading {path}: {len(content)} bytes instead of {stop - start}")
        return content

    def chunks(self, path: str, size: int, first: int = 0) -> Iterator[bytes]:
        """The bytes of an object from `first` to before `size`. Errors as `read`."""
        for start in range(first, size, _PART):
            yield self.read(path, start, min(start + _PART, size))

    def sizes(self, prefix: str) -> dict[str, int]:
        """Names and sizes of the objects of a batch; empty where there are none.

        Raises:
            RemoteFailed: they cannot be listed.
        """
        return {_last(one["name"]): int(one["size"] or 0) for one in self._list(prefix) if one["type"] == "file"}

    def folders(self) -> list[str]:
        """The names of all prefixes. Errors as `sizes`."""
        return sorted(_last(one["name"]) for one in self._list("") if one["type"] == "directory")

    def _list(self, path: str) -> list[dict[str, Any]]:
        with _remote(f"listing {path or 'ARCHIVE_URL'}"):
            self._fs.invalidate_cache()
            try:
                found: list[dict[str, Any]] = self._fs.ls(self._path(path), detail=True)
            except FileNotFoundError:
                return []
        return found

    def sync(self, prefix: str) -> None:
        """Make what was put durable, where the place does not do so by itself.

        Raises:
            RemoteFailed: it is not.
        """
        if self._local:
            folder = self._path(prefix)
            try:
                fsync_directory(os.path.dirname(folder))
                sync_filesystem(folder)
            except (OSError, DatastoreError) as error:
                raise RemoteFailed(f"syncing {prefix}: {error}") from error

    def remove_leftovers(self, prefix: str) -> None:
        """Remove what interrupted uploads into a folder have left."""
        if self._local:
            with contextlib.suppress(OSError), os.scandir(self._path(prefix)) as entries:
                for entry in entries:
                    if _UNDER_WAY in entry.name and entry.stat().st_mtime < time.time() - _ABANDONED:
                        os.unlink(entry.path)

    def _path(self, path: str) -> str:
        return f"{self._root.rstrip('/')}/{path}".rstrip("/")

    def _make_folder(self, full: str) -> None:
        if not self._is_object_store:
            self._fs.makedirs(full.rpartition("/")[0], exist_ok=True)

    @property
    def _is_object_store(self) -> bool:
        protocol = self._fs.protocol
        return bool({protocol} if isinstance(protocol, str) else set(protocol)) and (
            "s3" in protocol or "gcs" in protocol or "abfs" in protocol
        )


def _options(config: StoreConfig) -> dict[str, Any]:
    """The options, from the variable or from the file that it names. Their values appear in no message."""
    text = config.archive_options
    if text.startswith(("/", "./")):
        try:
            with open(text, encoding="utf-8") as file:
                text = file.read()
        except OSError as error:
            raise ConfigError(f"ARCHIVE_OPTIONS: the file {text!r} cannot be read: {error.strerror}") from None
    try:
        return json_decoder(dict[str, Any]).decode(text.encode() or b"{}")
    except msgspec.DecodeError:
        raise ConfigError("ARCHIVE_OPTIONS: must be a JSON object, or the path of a file that holds one") from None


@contextlib.contextmanager
def _remote(what: str) -> Iterator[None]:
    """Raise whatever a file system raises as `RemoteFailed`: each has errors of its own."""
    try:
        yield
    except DatastoreError:
        raise
    except Exception as error:
        raise RemoteFailed(f"{what}: {type(error).__name__}: {str(error)[:200]}") from error


def _put_in_place(file: str, target: str) -> None:
    """Rename a file once its content is durable: a power loss must not leave an empty one under the name."""
    fd = os.open(file, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
    os.replace(file, target)


def _discard(file: Any) -> None:
    """Take back an upload that was not finished. What cannot be taken back is in no manifest."""
    with contextlib.suppress(Exception):
        file.discard()


def _last(path: str) -> str:
    return path.rstrip("/").rpartition("/")[2]
