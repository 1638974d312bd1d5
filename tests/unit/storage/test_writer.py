"""I4 in the writer: a commit that is delivered more than once counts once."""

from __future__ import annotations

import threading
import zlib
from types import SimpleNamespace

import pytest

from shared.config import store_from_env
from shared.domain.commit import CommitRequest
from shared.errors import Recovering
from shared.ingest.spool_writer import SpoolWriter
from shared.storage import publisher
from shared.storage.writer import Writer
from shared.volume import whole_files
from shared.volume.posix import locked
from tests.support.builders import commit_requests, segment


@pytest.fixture
def config(tmp_path):
    return store_from_env({"ROOT": str(tmp_path / "store"), "STAGE_APART": "1000"})  # files are made in this process


def test_i4_the_same_commit_ten_times_counts_once(config, writer, spool):
    submissions = commit_requests(spool, [segment(n) for n in range(1, 9)])
    answers = [writer.commit(submissions) for _ in range(10)]
    assert all(answer == answers[0] for answer in answers)
    assert writer.state().segments == 8


def test_i4_the_same_commit_from_ten_threads_and_two_writers_counts_once(config, writer, spool):
    other = Writer(config)
    other.open()
    submissions = commit_requests(spool, [segment(n) for n in range(1, 9)])
    answers = []
    threads = [threading.Thread(target=lambda w=w: answers.append(w.commit(submissions))) for w in (writer, other) * 5]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(answers) == 10
    assert all(answer == answers[0] for answer in answers)
    assert writer.state() == other.state()
    assert writer.state().segments == 8
    other.close()


def test_i4_the_same_key_twice_in_one_group_counts_once(config, writer, spool):
    payload = segment()
    submissions = commit_requests(spool, [payload, payload, segment(5)], ["k", "k", "other"])
    first, second, third = writer.commit(submissions)
    assert (first.name, first.size) == (second.name, second.size)
    assert (first.is_new, second.is_new, third.is_new) == (True, False, True)
    assert writer.state().segments == 2


def test_i4_a_repeated_commit_with_a_key_known_from_before_is_answered_alike(config, writer, spool):
    submissions = commit_requests(spool, [segment(1)], ["k"])
    (first,) = writer.commit(submissions)
    again = SpoolWriter.from_config(config)
    more = commit_requests(again, [segment(1), segment(2)], ["k", ""])
    answers = [writer.commit(more) for _ in range(3)]
    assert answers[0][0].name == first.name
    assert answers[0] == answers[1] == answers[2]
    assert writer.state().segments == 2
    again.close()


def test_i4_a_commit_repeated_across_a_restart_and_a_cleanall_is_answered_alike(config, writer, spool):
    submissions = commit_requests(spool, [segment(n) for n in range(1, 5)], ["a", "", "c", ""])
    first = writer.commit(submissions)
    writer.archive_batch()
    assert writer.commit(submissions) == first
    again = Writer(config)
    again.open()
    assert [v.name for v in again.commit(submissions)][0::2] == [v.name for v in first][0::2]
    assert again.state().segments == 0
    again.close()


def test_i4_an_outdated_commit_from_a_trimmed_spool_is_not_stored(config, writer, spool):
    submissions = commit_requests(spool, [segment()])
    spool.close()
    writer.trim()
    assert [v.code for v in writer.commit(submissions)] == ["BUSY"]
    assert writer.state().segments == 0


@pytest.mark.parametrize("spool", ["../../../etc", "", "a/b", "0" * 15, "zzzzzzzzzzzzzzzz"])
def test_i4_a_commit_naming_no_spool_touches_no_path(config, writer, spool):
    body = segment()
    verdicts = writer.commit([CommitRequest(spool, 0, len(body), zlib.crc32(body))])
    assert [v.code for v in verdicts] == ["BUSY"]
    assert writer.state().segments == 0


def test_what_a_refused_request_held_is_not_kept(config):
    writer = Writer(config)  # which is not open

    def refused() -> int:
        with pytest.raises(Recovering) as error:
            writer.check()
        return len(error.traceback)

    assert [refused() for _ in range(3)] == [refused()] * 3


def test_files_may_become_visible_while_readiness_is_looked_at(config, writer, monkeypatch):
    pending = writer._publisher
    pending._pending_since = 0.0

    def clock() -> float:
        pending._pending_since = None  # as the thread that stores does
        return 1.0

    monkeypatch.setattr(publisher, "time", SimpleNamespace(monotonic=clock))
    assert [pending.pending_seconds, pending.pending_seconds] == [1.0, 0.0]


def test_a_decided_cleanall_is_done_although_something_else_holds_a_file_that_it_replaces(
    config, writer, spool, monkeypatch
):
    writer.commit(commit_requests(spool, [segment()]))
    monkeypatch.setattr(whole_files, "_TURN", 0.02)
    with locked(f"{writer.layout.journal}.next", timeout=1.0):
        assert writer.archive_batch().batch == 1
    writer.verify_files()  # as any request, it finishes what was decided
    assert writer.state().batch == 2
