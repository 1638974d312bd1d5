"""The status document: its arithmetic, and what it says of a log that it has not read to its end."""

from __future__ import annotations

import itertools
import json
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from functions.logic.status import StatusDocument, decimate_min_max
from shared.domain.freeze_policy import FreezePolicy
from shared.domain.messages import ArchiveList, Counts, Description
from shared.errors import NoSuchFile, StorageFailed
from shared.logic.log_follower import LogFollower
from shared.logic.service import DatastoreLogic


def test_a_spike_survives_thinning():
    h = [0.0] * 100_000
    h[54_321], h[54_322] = 5.0, -5.0
    kept = decimate_min_max(h, 1000)
    assert len(kept) <= 1000
    assert {54_321, 54_322} <= set(kept)
    assert kept == sorted(kept)


class LongLog:
    """A Data Buffer whose open batch has so many segments, of two channels; it has no files to show."""

    def __init__(self, segments: int) -> None:
        self._segments = segments

    def stat(self) -> Counts:
        return Counts(self._segments, 10 * self._segments)

    def dstat(self) -> Description:
        return Description("OPERATIONAL", "databuf", "databuf")

    def log(self, after: str = "", limit: int | None = None, batch: int | None = None) -> Iterator[bytes]:
        first = int(after[3:-5]) - 10**18 + 1 if after else 0
        return map(self._entry, itertools.islice(range(first, self._segments), limit))

    def _entry(self, index: int) -> bytes:
        about = {"detector": "HL"[index % 2] + "1", "t0": 1000.0 + index // 2, "dt": 1.0, "n": 1}
        return json.dumps({"Id": index, "size": 10, "name": f"gwb{10**18 + index}.json", **about}).encode()

    def archives(self, after: str = "", limit: int | None = None) -> ArchiveList:
        return ArchiveList([])

    def segment(self, name: str) -> bytes:
        raise NoSuchFile(name)

    names = send = freeze = cleanall = None


def document(segments: int, **options) -> StatusDocument:
    return StatusDocument(DatastoreLogic(LongLog(segments), FreezePolicy()), **options)  # type: ignore[arg-type]


def test_the_first_look_at_a_long_log_says_how_far_it_has_come():
    looked = document(60_001)
    first = looked.get()
    assert (first["n_itm"], first["reading"], first["longest"]) == (60_001, [50_000, 60_001], 25_000.0)
    looked._valid_until = 0  # as half a second later
    second = looked.get()
    assert (second["reading"], second["longest"]) == (None, pytest.approx(30_001))


def test_seconds_are_told_for_the_longest_stretch_and_channels_are_counted():
    told = document(10).get()
    assert (told["longest"], told["channels"], told["seconds"]) == (5.0, 2, 10.0)


class GrowingLog(LongLog):
    """A batch to which segments of ever new channels are added."""

    def add(self) -> None:
        self._segments += 1

    def _entry(self, index: int) -> bytes:
        about = {"channel": f"V1:C{index}", "t0": 1000.0, "dt": 1.0, "n": 1}
        return json.dumps({"Id": index, "size": 10, "name": f"gwb{10**18 + index}.json", **about}).encode()


def test_the_log_may_be_read_on_for_a_freeze_while_a_document_is_made(switching):
    log = GrowingLog(500)
    logic = DatastoreLogic(log, FreezePolicy(min_seconds=1.0))  # type: ignore[arg-type]
    looked = StatusDocument(logic)
    ended = threading.Event()

    def freeze_often() -> None:
        while not ended.is_set():
            log.add()
            logic.follower.update()

    with ThreadPoolExecutor(1) as threads:
        freezing = threads.submit(freeze_often)
        try:
            for _ in range(100):
                looked._valid_until = 0
                looked.get()
        finally:
            ended.set()
        freezing.result()


def test_samples_a_second_are_those_of_the_last_whole_seconds():
    follower = LogFollower(LongLog(10))  # type: ignore[arg-type]
    arrived = 10**9  # seconds since 1970, as the files' names say
    follower.update()
    assert follower.samples(10, arrived + 1) == 1.0
    assert follower.samples(10, arrived) == follower.samples(10, arrived + 11) == 0.0
    assert follower.samples(5, arrived + 5) == 2.0


def test_a_store_that_answers_and_takes_nothing_says_why():
    def full():
        raise StorageFailed("datavar is full; make room or enlarge the volume.")

    problem = document(1, check=full).get()["problem"]
    assert problem is not None
    assert (problem.code, problem.body.split(";")[0]) == ("ERRIO", "datavar is full")  # type: ignore[attr-defined]
