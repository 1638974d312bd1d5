"""Files that are put in place whole: what remains where the volume refuses to take them."""

from __future__ import annotations

import contextlib
import errno
import os
import resource
from concurrent.futures import ThreadPoolExecutor

import pytest

from shared.volume import whole_files


@pytest.fixture
def small_files():
    """Within it, the kernel writes ten bytes to a file and no more, as a volume does that is nearly full."""

    @contextlib.contextmanager
    def limit():
        before = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (10, before[1]))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)

    return limit


def test_a_file_that_cannot_be_finished_leaves_the_old_one_and_no_part_of_itself(tmp_path, small_files):
    path = tmp_path / "strain.idx"
    path.write_bytes(b"old")
    with pytest.raises(OSError, match="File too large") as refused, small_files():
        whole_files.atomic_replace(str(path), b"x" * 100)
    assert refused.value.errno == errno.EFBIG
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == {"strain.idx": b"old"}
    whole_files.atomic_replace(str(path), b"new")
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == {"strain.idx": b"new"}


def test_a_copy_to_another_volume_that_cannot_be_finished_leaves_nothing(tmp_path, small_files, monkeypatch):
    def other_volume(source: str, target: str) -> None:
        raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))

    monkeypatch.setattr(os, "link", other_volume)
    source, target = tmp_path / "source", tmp_path / "data" / "target"
    source.write_bytes(b"x" * 100)
    target.parent.mkdir()
    with pytest.raises(OSError, match="File too large"), small_files():
        whole_files.link_or_copy(str(source), str(target))
    assert list(target.parent.iterdir()) == []
    whole_files.link_or_copy(str(source), str(target))
    assert {p.name: p.read_bytes() for p in target.parent.iterdir()} == {"target": b"x" * 100}


def test_several_that_replace_a_file_at_once_each_put_a_whole_one_in_place(tmp_path):
    path = tmp_path / "coverage.json"

    def replace(letter: bytes) -> set[tuple[bytes, int]]:
        found = set()
        for number in range(1, 21):
            whole_files.atomic_replace(str(path), letter * number * 10_000)
            content = path.read_bytes()
            found.add((bytes(set(content)), len(content) % 10_000))
        return found

    with ThreadPoolExecutor(3) as threads:
        seen = set().union(*threads.map(replace, (b"a", b"b", b"c")))
    assert seen <= {(b"a", 0), (b"b", 0), (b"c", 0)}
    assert os.listdir(tmp_path) == ["coverage.json"]


def test_what_a_crash_has_left_of_a_replacement_is_no_part_of_the_next_one(tmp_path):
    path = tmp_path / "coverage.json"
    (tmp_path / "coverage.json.next").write_bytes(b"x" * 100)
    whole_files.atomic_replace(str(path), b"new")
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == {"coverage.json": b"new"}
