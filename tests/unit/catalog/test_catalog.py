"""The catalog over real volumes: it follows the writer, survives restarts, and needs none of the files it saves."""

from __future__ import annotations

import json
import os
import shutil
import threading
from fractions import Fraction

import pytest

from shared.catalog import catalog as module
from shared.catalog import indexed_batch
from shared.catalog.catalog import Catalog
from shared.catalog.tracks import glob, tracks
from shared.errors import BadRequest, NoSuchFile, Recovering
from shared.storage.reader import BatchReader


def spans(catalog: Catalog, batch="all", channel="V1:X") -> list[tuple[int, int]]:
    with catalog.look(batch) as batches:
        found = tracks(batches, lambda key: key[1] == channel)
        return [(int(a), int(b)) for track in found for a, b in track.spans()]


def saved(path: str) -> bool:
    """Whether an index is in place; the thread that saves it is waited for."""
    for thread in threading.enumerate():
        if thread.name == "save-index":
            thread.join()
    return os.path.exists(path)


def test_it_follows_the_open_batch_and_goes_on_in_its_archive(bench):
    catalog = bench.catalog()
    assert spans(catalog) == []
    bench.store(100, 101)
    assert spans(catalog) == [(100, 102)]
    bench.store(105)
    bench.writer.archive_batch()  # with a segment that the catalog has not seen
    bench.store(102, 200)
    assert spans(catalog) == [(100, 103), (105, 106), (200, 201)]
    assert spans(catalog, "open") == [(102, 103), (200, 201)]
    assert spans(catalog, "1") == spans(catalog, bench.archives()[0]) == [(100, 102), (105, 106)]
    assert spans(bench.catalog()) == spans(catalog)
    with pytest.raises(NoSuchFile), catalog.look("3"):
        pass


def test_a_batch_that_was_archived_between_two_looks_is_not_lost(bench):
    catalog = bench.catalog()
    bench.store(100)
    assert spans(catalog) == [(100, 101)]
    for second in (200, 300):
        bench.writer.archive_batch()
        bench.store(second)
    assert spans(catalog) == [(100, 101), (200, 201), (300, 301)]


@pytest.mark.parametrize(("batch", "expected"), [("all", [100, 200]), ("open", [200]), ("1", [100])])
def test_a_batch_that_is_archived_during_a_look_is_not_lost(bench, monkeypatch, batch, expected):
    catalog = bench.catalog()
    bench.store(100)
    update = catalog._update_open

    def archived_before():
        bench.writer.archive_batch()
        bench.store(200)
        return update()

    monkeypatch.setattr(catalog, "_update_open", archived_before)
    assert spans(catalog, batch) == [(second, second + 1) for second in expected]


def test_an_archive_gets_its_index_and_coverage_once(bench):
    bench.store(100, 101, 105)
    bench.writer.archive_batch()
    (archive,) = bench.archives()
    folder = bench.layout.archive(archive)
    assert spans(bench.catalog(), archive) == [(100, 102), (105, 106)]
    assert saved(os.path.join(folder, module.INDEX))
    with open(os.path.join(folder, module.COVERAGE)) as file:
        assert json.load(file) == {"batch": 1, "segments": 3, "streams": [{
            "detector": "V1", "channel": "V1:X", "rate": 4.0, "overlaps": 0,
            "stretches": [{"t0": 100.0, "n": 8}, {"t0": 105.0, "n": 4}],
        }]}  # fmt: skip
    before = os.stat(os.path.join(folder, module.INDEX)).st_mtime_ns
    assert spans(bench.catalog(), archive) == [(100, 102), (105, 106)]
    assert saved(os.path.join(folder, module.INDEX))
    assert os.stat(os.path.join(folder, module.INDEX)).st_mtime_ns == before


def change(path: str) -> None:
    with open(path, "r+b") as file:
        file.seek(30)
        file.write(b"\xff")


@pytest.mark.parametrize("harm", ["damaged", "foreign", "cut", "gone"])
def test_a_saved_index_is_a_shortcut_and_never_the_truth(bench, harm):
    bench.store(100, 101)
    bench.writer.archive_batch()
    bench.store(300)
    bench.writer.archive_batch()
    first, second = (os.path.join(bench.layout.archive(name), module.INDEX) for name in bench.archives())
    assert spans(bench.catalog()) == [(100, 102), (300, 301)]
    assert saved(first)
    if not os.path.exists(second):  # one at a time is saved
        spans(bench.catalog())
        assert saved(second)
    if harm == "damaged":
        change(first)
    elif harm == "foreign":
        shutil.copy(second, first)
    elif harm == "cut":
        os.truncate(first, 100)
    else:
        os.unlink(first)
    assert spans(bench.catalog()) == [(100, 102), (300, 301)]


def test_the_index_of_the_open_batch_is_saved_and_continued(bench, monkeypatch):
    monkeypatch.setattr(module, "_SAVE_EVERY", 2)
    bench.store(100, 101)
    assert spans(bench.catalog()) == [(100, 102)]
    assert saved(bench.layout.strain_index)
    bench.store(102)
    read = []

    class Reader(BatchReader):
        def page(self, after="", limit=None, batch=None, archive=""):
            read.append(after)
            return super().page(after, limit, batch, archive)

    catalog = Catalog(Reader(bench.config), bench.layout)
    assert spans(catalog) == [(100, 103)]
    assert "" not in read  # it went on behind what was saved
    bench.writer.archive_batch()
    bench.store(500)
    assert spans(bench.catalog(), "open") == [(500, 501)]  # what was saved is the last batch's


def test_a_long_journal_is_read_in_parts(bench, monkeypatch):
    monkeypatch.setattr(indexed_batch, "PAGE", 3)
    bench.store(*range(100, 107))
    catalog = bench.catalog()
    for _ in range(2):
        with pytest.raises(Recovering, match="segments so far"):
            spans(catalog)
    assert spans(catalog) == [(100, 107)]


def test_a_volume_that_cannot_be_written_is_enough(bench, monkeypatch):
    bench.store(100)
    bench.writer.archive_batch()
    bench.store(101)

    def refuse(*arguments, **keywords):
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(indexed_batch, "atomic_replace", refuse)
    catalog = bench.catalog()
    assert spans(catalog) == [(100, 102)]
    assert not saved(os.path.join(bench.layout.archive(bench.archives()[0]), module.INDEX))
    assert spans(catalog) == [(100, 102)]


def test_the_first_stored_wins_across_batches(bench):
    bench.store(101)
    bench.writer.archive_batch()
    bench.store(100, 101, 102)
    with bench.catalog().look("all") as batches:
        (track,) = tracks(batches, lambda key: True)
        (series,) = track.series(Fraction(100), Fraction(103), 1 << 20)
        assert [(batch.number, batch.name) for batch in track.batches] == [(1, bench.archives()[0]), (2, "open")]
    names = [part.name for _, part in series.parts[0].sources]
    reader = BatchReader(bench.config)
    here, archived = list(reader.names()), list(reader.archived_page(bench.archives()[0]).names)
    assert names == [here[0], archived[0], here[2]]


def test_archives_are_forgotten_beyond_the_room_for_their_rows_and_read_again(bench, monkeypatch):
    monkeypatch.setattr(module, "_MAX_ROWS", 3)
    for second in (100, 200, 300):
        bench.store(second, second + 1)
        bench.writer.archive_batch()
    catalog = bench.catalog()
    for _ in range(2):
        assert spans(catalog) == [(100, 102), (200, 202), (300, 302)]
        assert [archived.batch for archived in catalog._archives] == [3]


def test_a_pattern_matches_as_fnmatch_and_in_bounded_time():
    assert glob("V1:H*")("V1:Hrec")
    assert not glob("V1:H*")("v1:hrec")
    assert glob("V1:[HG]rec?")("V1:Grec1")
    assert not glob("*".join("a" * 120) + "*b")("a" * 4000)
    with pytest.raises(BadRequest):
        glob("*" * 257)
