"""Arrivals over real volumes: in order over all batches, each once, from any position on, however far a reader is."""

from __future__ import annotations

import errno
import shutil
import threading
from pathlib import Path

import pytest

from shared.catalog.arrivals import Arrivals, Position
from shared.catalog.arrived_samples import ArrivedSamples
from shared.catalog.follower import Follower
from shared.errors import BadRequest, Busy, JournalDamaged, Recovering, SegmentDamaged
from shared.storage.reader import BatchReader

BEGINNING = Position(0)


def times(found) -> list[int]:
    return [int(arrival.row.t0) for arrival in found]


def everything(reader: BatchReader, position=BEGINNING, limit=100) -> list[int]:
    return times(Arrivals(reader, position).read(limit))


def test_arrivals_are_read_across_batches_in_pages_of_any_length(bench):
    reader = BatchReader(bench.config)
    for first in (0, 10, 20, 30):
        bench.store(*range(first, first + 5))
        if first < 30:
            bench.writer.archive_batch()
    bench.writer.archive_batch()  # the open batch is empty
    stored = [first + i for first in (0, 10, 20, 30) for i in range(5)]
    for limit in (1, 2, 3, 5, 7, 100):
        arrivals = Arrivals(reader, BEGINNING)
        found = []
        while page := arrivals.read(limit):
            found += page
        assert times(found) == stored
        assert [arrival.row.batch for arrival in found] == [number for number in (1, 2, 3, 4) for _ in range(5)]
    for count, arrival in enumerate(found, 1):
        assert everything(reader, Position.parse(arrival.row.name)) == stored[count:]
    assert reader.newest() == found[-1].position.number


def test_a_reader_goes_on_where_its_batch_was_archived_twice_meanwhile(bench):
    arrivals = Arrivals(BatchReader(bench.config), BEGINNING)
    bench.store(1, 2, 3)
    assert times(arrivals.read(2)) == [1, 2]
    bench.store(4)
    bench.writer.archive_batch()
    bench.store(5)
    bench.writer.archive_batch()
    bench.store(6)
    assert times(arrivals.read(100)) == [3]  # as far as the batch went when the reader opened it
    assert times(arrivals.read(2)) == [4, 5]
    bench.store(7)
    assert times(arrivals.read(1)) == [6]
    bench.store(8)
    assert times(arrivals.read(100)) + times(arrivals.read(100)) == [7, 8]
    assert arrivals.read(100) == []


def test_none_are_left_whenever_a_read_finds_none(bench):
    arrivals = Arrivals(BatchReader(bench.config), BEGINNING)
    bench.store(1, 2)
    assert times(arrivals.read(2)) == [1, 2]
    bench.store(3)
    assert times(arrivals.read(2)) == [3]
    assert arrivals.read(2) == []


def test_what_cannot_be_read_is_read_later_and_nothing_is_left_out(bench, tmp_path):
    arrivals = Arrivals(BatchReader(bench.config), BEGINNING)
    bench.store(1, 2)
    bench.writer.archive_batch()
    bench.store(3)
    journal, aside = Path(bench.layout.journal), tmp_path / "aside"
    content = journal.read_bytes()
    lines = content.splitlines(keepends=True)
    journal.write_bytes(b"".join(lines[:-1]) + lines[-1].replace(b"V1:X", b"V1:Y"))
    with pytest.raises(JournalDamaged):
        arrivals.read(100)
    journal.write_bytes(content)
    shutil.move(journal, aside)
    with pytest.raises(Recovering):
        arrivals.read(100)
    shutil.move(aside, journal)
    assert times(arrivals.read(100)) == [1, 2, 3]


def test_the_newest_name_is_found_in_a_long_journal_and_in_an_empty_batch(bench):
    reader = BatchReader(bench.config)
    assert reader.newest() == 0
    bench.store(*range(100))
    (last,) = Arrivals(reader, BEGINNING).read(1000)[-1:]
    assert reader.newest() == last.position.number
    counted = BatchReader(bench.config, lambda: 3)  # the rest is not acknowledged yet
    assert counted.newest() == Arrivals(counted, BEGINNING).read(1000)[-1].position.number
    assert everything(counted) == [0, 1, 2]
    bench.writer.archive_batch()
    assert reader.newest() == last.position.number


@pytest.mark.parametrize("text", ["gwb1795859940073261959.json", "gwb1795859940073261959.json:3", "gwb0.json"])
def test_a_position_is_a_name_with_a_part_at_most(text):
    assert str(Position.parse(text)) == text
    for bad in (text.upper(), f"/{text}", f"{text}:", f"{text}\n", "", "x"):
        with pytest.raises(BadRequest):
            Position.parse(bad)
    assert Position.parse("gwb7.json:2") < Position.parse("gwb7.json:3") < Position.parse("gwb7.json")


def test_readers_share_what_is_newest_until_they_are_too_far_behind(bench):
    follower = Follower(BatchReader(bench.config), most=1, backlog=4)
    woken = threading.Event()
    follower.join(woken.set)
    with pytest.raises(Busy, match="LIVE_READERS"):
        follower.join(lambda: None)
    bench.store(1)
    begin = follower.newest()
    assert follower.floor == begin
    assert follower.behind(begin) == []
    assert follower.behind(BEGINNING) is None
    bench.store(2, 3)
    assert woken.wait(10)
    after = follower.newest()
    assert times(follower.behind(begin)) == [2, 3]
    assert follower.behind(after) == []
    bench.writer.archive_batch()
    bench.store(*range(4, 20))
    follower.newest()
    assert follower.behind(begin) is None
    assert times(follower.behind(follower.floor)) == times(Arrivals(BatchReader(bench.config), follower.floor).read(99))
    follower.leave(woken.set)
    for thread in threading.enumerate():
        if thread.name == "live":
            thread.join(10)
            assert not thread.is_alive()


def test_readers_are_woken_after_an_error_of_the_disk_too(bench, monkeypatch):
    bench.store(1)
    reader = BatchReader(bench.config)
    follower = Follower(reader, most=1, backlog=4)
    woken = threading.Event()
    follower.join(woken.set)
    begin = follower.newest()
    progress, errors = reader.progress, iter([OSError(errno.EIO, "Input/output error")])

    def failing():
        for error in errors:
            raise error
        return progress()

    monkeypatch.setattr(reader, "progress", failing)
    bench.store(2)
    assert woken.wait(10)
    assert times(follower.behind(begin)) == [2]
    follower.leave(woken.set)


def test_samples_are_found_wherever_their_batch_is_and_checked(bench):
    reader = BatchReader(bench.config)
    samples = ArrivedSamples(reader, bench.layout)
    bench.store(1, 2, 3)
    first, second, third = Arrivals(reader, BEGINNING).read(3)
    h = [1e-21, 2e-21, 3e-21, 4e-21]
    assert list(samples.of(first)) == pytest.approx(h, rel=1e-12)
    bench.writer.archive_batch()
    bench.store(4)
    (fourth,) = Arrivals(reader, third.position).read(9)
    for arrival in (second, fourth, first):
        assert list(samples.of(arrival)) == pytest.approx(h, rel=1e-12)
    with pytest.raises(SegmentDamaged):
        samples.of(third._replace(crc32=third.crc32 ^ 1))
