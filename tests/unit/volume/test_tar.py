"""The tar file of a set: what tarfile reads, and the same from any offset on."""

from __future__ import annotations

import io
import tarfile

import pytest

from shared.volume.tar import Tar, header

FILES = {"a": b"", "folder/b": b"x" * 512, "c": b"y" * 700_000, "d" * 120: b"z"}


def tar_of(files: dict[str, bytes], short: bool = False) -> Tar:
    return Tar(
        [(f"set/{name}", len(content) + short, name) for name, content in files.items()],
        lambda name: io.BytesIO(files[name]),
    )


@pytest.mark.parametrize("name", ["a", "folder/gwb1.json", "n" * 100, "n" * 101, "é"])
@pytest.mark.parametrize("size", [0, 1, 511, 512, 8**11 - 1, 8**11])
def test_a_header_is_that_of_tarfile(name, size):
    info = tarfile.TarInfo(name)
    info.size, info.mode = size, 0o644
    assert header(name, size) == info.tobuf(tarfile.PAX_FORMAT)


def test_tarfile_reads_it():
    tar = tar_of(FILES)
    content = b"".join(tar.read())
    assert len(content) == tar.size
    with tarfile.open(fileobj=io.BytesIO(content)) as read:
        found = {member.name: read.extractfile(member).read() for member in read.getmembers()}  # type: ignore[union-attr]
    assert found == {f"set/{name}": content for name, content in FILES.items()}
    assert b"".join(tar_of(FILES).read()) == content


def test_every_part_is_that_part_of_the_whole():
    tar = tar_of(FILES)
    content = b"".join(tar.read())
    edges = sorted(
        {0, 1, 511, 512, 513, 1024, 1535, 1536, 2048, 2560, 300_000, tar.size - 1025, tar.size - 1, tar.size}
    )
    for start in edges:
        for stop in (edge for edge in edges if edge > start):
            assert b"".join(tar.read(start, stop)) == content[start:stop]


def test_a_file_that_has_shrunk_is_no_part_of_it():
    with pytest.raises(OSError, match="shorter"):
        list(tar_of({"a": b"xy"}, short=True).read())
