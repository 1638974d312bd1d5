"""Long files are whole whatever their length, on file systems that write around the page cache and on others."""

from __future__ import annotations

import errno
import fcntl
import os
import resource
import signal
from pathlib import Path

import pytest

from shared.volume import long_file
from shared.volume.long_file import create_durable

LENGTHS = (0, 1, 4095, 4096, 4097, 100_000, 4 << 20, (4 << 20) + 1, (9 << 20) + 4095)


def content(length: int) -> bytes:
    return bytes(range(251)) * (length // 251) + bytes(length % 251)


@pytest.mark.parametrize("length", LENGTHS)
def test_the_content_is_what_was_given(tmp_path, length):
    for name, given in (("first", content(length)), ("second", content(length)[::-1])):  # the buffer is used again
        create_durable(f"{tmp_path}/{name}", given)
        assert (tmp_path / name).read_bytes() == given


def test_a_file_system_without_direct_writes_takes_the_content_too(tmp_path, monkeypatch):
    memory = Path("/dev/shm")
    place = memory / f"long-{os.getpid()}" if memory.is_dir() else tmp_path / "long"
    monkeypatch.setattr(long_file, "_BLOCK", 512 - 8)  # no multiple of what a disk asks for: the kernel refuses
    try:
        create_durable(str(place), content(100_000))
        assert place.read_bytes() == content(100_000)
    finally:
        place.unlink()


def test_a_length_that_the_disk_refuses_is_written_through_the_page_cache(tmp_path, monkeypatch):
    monkeypatch.setattr(long_file, "_BLOCK", 1000)
    create_durable(f"{tmp_path}/long", content(5_555_555))
    assert (tmp_path / "long").read_bytes() == content(5_555_555)


def test_what_is_written_directly_is_not_in_the_page_cache(tmp_path):
    path = tmp_path / "long"
    create_durable(str(path), content(8 << 20))
    with path.open("rb") as file:
        try:
            fcntl.fcntl(file.fileno(), fcntl.F_SETFL, os.O_DIRECT)
        except OSError:
            pytest.skip("the file system has no direct writes")
        fcntl.fcntl(file.fileno(), fcntl.F_SETFL, 0)
        with pytest.raises(BlockingIOError):
            os.preadv(file.fileno(), [bytearray(1)], 1 << 20, os.RWF_NOWAIT)


def test_a_file_that_is_there_is_left_alone(tmp_path):
    path = tmp_path / "long"
    path.write_bytes(b"other")
    with pytest.raises(FileExistsError):
        create_durable(str(path), content(10_000))
    assert path.read_bytes() == b"other"


def test_a_file_that_cannot_be_written_whole_is_removed(tmp_path):
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (5 << 20, before[1]))
    try:
        with pytest.raises(OSError) as refused:  # noqa: PT011
            create_durable(f"{tmp_path}/long", content(9 << 20))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)
    assert refused.value.errno == errno.EFBIG
    assert list(tmp_path.iterdir()) == []
