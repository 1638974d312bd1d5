"""Copies of archives in a folder: made, verified, freed, read and brought back, bit for bit, whatever is in between."""

from __future__ import annotations

import io
import json
import os
import tarfile
from dataclasses import replace
from pathlib import Path

import pytest

from shared.archiver import freeing, runner
from shared.archiver.rebuild import Rebuilder
from shared.archiver.requests import RESTORE, VERIFY, Requests, Wanted
from shared.archiver.runner import ArchiveRunner
from shared.archiver.upload import Uploader
from shared.archives import manifest as names
from shared.archives.index import Index
from shared.errors import Busy, RemoteFailed, StorageFailed
from shared.storage.reader import BatchReader
from tests.support.archives import Copied, check_copy, copied_bench, empty_store, nothing, samples, segments, served
from tests.support.bench import Bench


@pytest.fixture
def bench(tmp_path):
    bench = copied_bench(tmp_path)
    yield bench
    bench.close()


@pytest.fixture
def copied(bench) -> Copied:
    """A store with one archive of 20 s, and its copies."""
    bench.store(*range(100, 120))
    bench.writer.archive_batch()
    bench.store(*range(120, 123))
    return Copied(bench.config)


def remote(copied: Copied) -> Path:
    (folder,) = (Path(copied.config.archive_url.removeprefix("file://"))).iterdir()
    return folder


def test_a_copy_is_a_few_tar_files_an_index_and_a_manifest(copied):
    before = segments(copied.held().folder)
    stub = copied.copy()
    folder = remote(copied)
    manifest = check_copy(folder)
    assert folder.name == copied.held().prefix == stub.prefix
    assert (manifest["name"], manifest["batch"], manifest["segments"]) == (copied.held().name, 1, 20)
    assert manifest["bytes"] == sum(map(len, before.values()))
    found: dict[str, bytes] = {}
    pieces = sorted(folder.glob("segments-*.tar"))
    assert len(pieces) > 3
    for piece in pieces:
        with tarfile.open(piece) as packed:
            found |= {member.name: packed.extractfile(member).read() for member in packed}  # type: ignore[union-attr]
    assert found == before
    assert list(found) == sorted(before)  # in order of arrival
    index = Index.decode((folder / "index").read_bytes())
    for row in index.rows():
        content = pieces[row.piece].read_bytes()[row.offset : row.offset + row.size]
        assert content == before[f"gwb{row.number}.json"]
    assert (folder / "journal").read_bytes() == Path(copied.layout.archived_journal(manifest["name"])).read_bytes()
    assert segments(copied.held().folder) == before  # nothing is removed by copying


def test_what_is_freed_is_read_as_before(bench, copied):
    before, values = segments(copied.held().folder), samples(bench, 90, 130)
    copied.copy()
    assert copied.free() == len(before)
    assert segments(copied.held().folder) == {}
    assert copied.held().safe
    assert not copied.held().here
    assert served(bench.config) == before
    assert samples(bench, 90, 130) == values
    (row,) = BatchReader(bench.config).archives().archives
    assert (row.segments, row.elsewhere, row.copied != "") == (20, True, True)
    assert copied.restore() == len(before)
    assert segments(copied.held().folder) == before
    assert copied.held().here
    assert [name for name in os.listdir(copied.layout.archive_work) if not name.endswith(".lock")] == []


def test_nothing_is_removed_whose_copy_is_not_what_was_verified(copied):
    copied.copy()
    folder = remote(copied)
    before = segments(copied.held().folder)
    for name in ("manifest.json", "segments-00001.tar", "index", "journal"):
        path = folder / name
        content = path.read_bytes()
        for damage in (content[:-1], None, bytes([content[0] ^ 1]) + content[1:]):
            if damage is not None and len(damage) == len(content) and name in ("segments-00001.tar", "journal"):
                continue  # `verify` reads these; see below
            path.unlink() if damage is None else path.write_bytes(damage)
            with pytest.raises(RemoteFailed):
                copied.free()
            assert segments(copied.held().folder) == before
            assert copied.held().stub.lost
            assert not copied.held().safe
            path.write_bytes(content)
            copied.copy()
            assert copied.held().safe
    check_copy(folder)


def test_a_copy_that_has_rotted_is_found_and_made_anew(copied):
    copied.copy()
    path = remote(copied) / "segments-00001.tar"
    content = path.read_bytes()
    path.write_bytes(bytes([content[0] ^ 1]) + content[1:])
    with pytest.raises(RemoteFailed, match="not what was put there"):
        copied.verify()
    assert copied.held().stub.lost
    assert copied.free_due("0") == 0  # not even if it is due
    copied.copy()
    copied.verify()
    assert copied.held().safe
    assert path.read_bytes() == content


def test_nothing_is_removed_whose_copy_was_found_lost_while_other_archives_were_freed(copied):
    copied.copy()
    due = copied.held()  # as it was when the archives that are due were listed
    piece = next(remote(copied).glob("segments-*.tar"))
    piece.write_bytes(bytes(len(piece.read_bytes())))
    with pytest.raises(RemoteFailed, match="not what was put there"):
        copied.verify()
    with pytest.raises(RemoteFailed, match="is lost"):
        freeing.free(copied.layout, copied.place, due)
    assert len(segments(due.folder)) == 20


def test_an_archive_that_is_freed_while_its_copy_is_read_back_stays_freed(copied):
    copied.copy()
    begun = copied.held()

    def freed_meanwhile(step: str, done: int, of: int) -> None:
        if not done:
            copied.free()

    freeing.verify(copied.layout, copied.place, begun, freed_meanwhile)
    assert copied.stub().freed
    assert not copied.held().here


def test_a_request_that_comes_while_another_one_is_done_is_not_forgotten_with_it(copied):
    requests = Requests(copied.layout)
    wanted = [Wanted(copied.held().name, copied.held().prefix, what) for what in (VERIFY, RESTORE)]
    for settle in (requests.done, lambda one: requests.fail(one, "refused")):
        for one in wanted:
            requests.add(one)
        settle(wanted[0])
        assert requests.waiting() == wanted[1:]
        settle(wanted[1])
        assert requests.waiting() == []
    assert [one.error for one in requests.all()] == ["refused"]


def test_work_that_ends_with_the_store_is_no_failure(copied, monkeypatch, caplog):
    copied.copy()
    archives = ArchiveRunner(BatchReader(replace(copied.config, archive_keep="0")))

    def ended(*arguments: str) -> None:
        archives.stop()
        raise Busy("archiver ended with -9; its log says why")

    monkeypatch.setattr(runner, "_LOOK", 0.0)
    monkeypatch.setattr(archives._freeing, "run", ended)
    archives._free()
    assert [line.getMessage() for line in caplog.records if line.levelname == "ERROR"] == []


def test_what_reads_back_otherwise_was_not_put(copied):
    uploader = Uploader(copied.config, copied.layout, copied.place, nothing)
    put = copied.place.put("00000009-00000000/segments-00000.tar", [b"abc", b"def"])
    assert uploader._checked("00000009-00000000", names.Object("segments-00000.tar", *put)).size == 6
    (remote(copied) / "segments-00000.tar").write_bytes(b"abcdeg")
    with pytest.raises(RemoteFailed, match="not what was put there"):
        uploader._checked("00000009-00000000", names.Object("segments-00000.tar", *put))


def test_a_lost_copy_of_what_is_freed_is_not_replaced_by_less(copied):
    copied.copy()
    copied.free()
    path = remote(copied) / "segments-00001.tar"
    content = path.read_bytes()
    path.unlink()
    with pytest.raises(RemoteFailed):
        copied.verify()
    with pytest.raises(RemoteFailed, match="bring the copy back from a backup"):
        copied.copy()
    path.write_bytes(content)  # as it says
    copied.verify()
    assert copied.held().safe
    assert len(served(copied.config)) == 20


def test_products_made_later_are_a_new_generation(copied):
    folder = Path(copied.held().folder)
    copied.copy()
    copied.free()
    (folder / "products" / "one").mkdir(parents=True)
    (folder / "products" / "manifest.json").write_text("{}")
    (folder / "products" / "one" / "x.png").write_bytes(b"png" * 100)
    assert not copied.held().safe
    first = (remote(copied) / "manifest.json").read_bytes()
    copied.copy()
    assert copied.held().safe
    assert (remote(copied) / "manifest.json").read_bytes() == first
    manifest = check_copy(remote(copied))
    assert manifest["generation"] == 1
    with tarfile.open(remote(copied) / "beside-00001.tar") as packed:
        assert packed.getnames() == ["coverage.json", "products/manifest.json", "products/one/x.png"]
    assert len(served(copied.config)) == 20
    os.utime(folder / "products" / "manifest.json", ns=(1, 1))  # as after a restore: the same bytes
    copied.copy()
    assert copied.held().safe
    assert not (remote(copied) / "manifest-00002.json").exists()


def test_a_damaged_segment_is_not_copied_and_not_removed(bench, copied):
    folder = Path(copied.held().folder)
    names_ = sorted(segments(folder))
    (folder / names_[3]).unlink()
    content = bytearray((folder / names_[7]).read_bytes())
    content[2] ^= 1
    (folder / names_[7]).write_bytes(content)
    copied.copy()
    manifest = check_copy(remote(copied))
    assert manifest["missing"] == [names_[3], names_[7]]
    assert manifest["segments"] == 18
    piece = next(remote(copied).glob("segments-*.tar"))
    packed = piece.read_bytes()
    piece.write_bytes(b"x" + packed[1:])
    with pytest.raises(RemoteFailed):
        copied.verify()
    copied.copy()  # anew, with all there is
    assert piece.read_bytes() == packed
    copied.verify()
    copied.free()
    assert segments(folder) == {names_[7]: bytes(content)}
    good = [name for name in names_ if name not in (names_[3], names_[7])]
    reader = BatchReader(bench.config)
    assert all(reader.segment(name, "1") for name in good)


def test_local_copies_are_kept_as_long_as_they_should_be(bench, copied):
    assert copied.free_due("0") == 0, "it is not safe yet"
    copied.copy()
    assert copied.free_due("") == copied.free_due("7d") == copied.free_due("1kB") == 0
    assert len(segments(copied.held().folder)) == 20
    assert copied.free_due("100000TB") == 1  # less than that is free
    copied.restore()
    assert copied.free_due("1h") == 0  # it counts from its return
    assert copied.free_due("0") == 1
    assert copied.free_due("0") == 0
    wanted = Wanted(copied.held().name, copied.held().prefix, RESTORE)
    Requests(copied.layout).add(wanted)
    copied.restore()
    assert copied.free_due("0") == 0, "somebody wants it back"
    Requests(copied.layout).done(wanted)
    assert copied.free_due("0") == 1


def test_an_archive_without_segments(bench):
    bench.writer.archive_batch()
    copied = Copied(bench.config)
    copied.copy()
    manifest = check_copy(remote(copied))
    assert (manifest["segments"], manifest["bytes"]) == (0, 0)
    assert copied.free() == copied.restore() == 0
    copied.verify()


def test_a_store_of_another_batch_is_refused(tmp_path, copied):
    copied.copy()
    journal = remote(copied) / "journal"
    manifest = json.loads((remote(copied) / "manifest.json").read_bytes())
    for one in manifest["objects"]:
        if one["name"] == "journal":
            one["sha256"] = "0" * 64
    (remote(copied) / "manifest.json").write_bytes(json.dumps(manifest).encode() + b"\n")
    with pytest.raises(RemoteFailed, match="of another batch"):
        copied.copy()
    assert journal.exists()


@pytest.mark.parametrize("whole", [True, False])
def test_a_store_is_rebuilt_on_an_empty_volume(tmp_path, bench, copied, whole):
    copied.copy()
    products = Path(copied.held().folder) / "products"
    products.mkdir()
    (products / "manifest.json").write_text('{"verdict":"done"}')
    copied.copy()
    bench.writer.archive_batch()
    newest = bench.archives()[1]
    copied.copy(newest)
    values, before = samples(bench, 0, 1000), served(bench.config)
    listed = BatchReader(bench.config).archives().archives
    config = empty_store(bench.config, tmp_path / "new")
    assert Rebuilder(config, segments=whole).run() == 2
    with pytest.raises(StorageFailed, match="an empty volume"):
        Rebuilder(config, segments=whole).run()
    env = {"ARCHIVE_URL": config.archive_url}
    again = Bench(tmp_path / "new", **env)  # the writer starts, and finishes the cleanall
    try:
        assert again.writer.state().batch == 3
        assert served(config) == before
        assert samples(config, 0, 1000) == values
        rows = BatchReader(config).archives().archives
        assert [(row.name, row.segments, row.bytes, row.changes) for row in rows] == [
            (row.name, row.segments, row.bytes, row.changes) for row in listed
        ]
        assert (Path(again.layout.archive(listed[1].name)) / "products" / "manifest.json").exists()
        again.store(200)
        assert len(samples(again, 0, 1000)) == len(values) + 4
        here = segments(again.layout.archive(newest))
        assert len(here) == (3 if whole else 0)
        again_copied = Copied(config)
        again_copied.copy(newest)  # nothing new to copy
        assert again_copied.held(newest).safe
    finally:
        again.close()


def test_a_manifest_that_was_cut_off_is_none():
    manifest = names.Manifest(name="a", batch=1, opened=2, segments=3, bytes=4, missing=[], closed=5, generation=0,
                              objects=[names.Object("x", 1, "00")])  # fmt: skip
    content = names.encode(manifest)
    assert names.decode(content) == manifest
    assert all(names.decode(content[:end]) is None for end in range(len(content)))


def test_tar_headers_are_what_tarfile_reads():
    from shared.volume import tar

    content = tar.header("gwb1.json", 3) + b"abc" + tar.padding(3) + tar.END
    with tarfile.open(fileobj=io.BytesIO(content)) as packed:
        assert packed.extractfile("gwb1.json").read() == b"abc"  # type: ignore[union-attr]
