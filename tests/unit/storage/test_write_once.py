"""Long payloads are written once: their file is what is durable, and the spool has a hole in its place."""

from __future__ import annotations

import os

import pytest

from shared.config import store_from_env
from shared.errors import StorageFailed
from shared.storage.writer import Writer
from shared.volume.layout import Layout
from shared.volume.spool import SpoolDirectory
from tests.support.builders import commit_requests

SHORT, LONG = [b"%d" % i * 50 for i in range(9)], [b"%d" % i * 500 for i in range(9)]
GROUPS = {
    "long alone": LONG[:1],
    "long ones": LONG[:3],
    "long first": [LONG[0], *SHORT[:3]],
    "long last": [*SHORT[:3], LONG[0]],
    "mixed": [SHORT[0], LONG[0], LONG[1], SHORT[1], LONG[2], SHORT[2], SHORT[3]],
    "many short ones": [*SHORT, LONG[0]],  # enough for the stager's process
}


@pytest.fixture
def config(tmp_path):
    # The folder is in this process alone, so that no process is started.
    return store_from_env({"ROOT": str(tmp_path / "store"), "WRITE_ONCE": "200", "STAGE_APART": "3"})


def files(writer):
    return [(os.path.join(writer.layout.data, name), name) for name in sorted(os.listdir(writer.layout.data))]


def contents(writer):
    found = []
    for path, _ in files(writer):
        with open(path, "rb") as file:
            found.append(file.read())
    return found


@pytest.mark.parametrize("group", GROUPS)
def test_every_payload_is_stored_and_long_ones_are_not_in_the_spool(config, writer, spool, group):
    payloads = GROUPS[group]
    for times in (1, 2):  # a second group begins behind the holes of the first
        requests = commit_requests(spool, payloads)
        results = writer.commit(requests)
        assert [result.is_new for result in results] == [True] * len(payloads)
        assert contents(writer) == payloads * times
    with open(SpoolDirectory(Layout(config)).file(requests[0].spool), "rb") as file:
        log = file.read()
    for payload in payloads:
        assert log.count(payload) == (2 if len(payload) < 200 else 0)
    assert [request.offset for request in requests] == sorted({request.offset for request in requests})


@pytest.mark.parametrize("group", GROUPS)
def test_a_rename_that_a_power_loss_took_back_is_done_again(config, writer, spool, group):
    payloads = GROUPS[group]
    requests = commit_requests(spool, payloads)
    writer.commit(requests)
    directory = SpoolDirectory(writer.layout)
    for (path, _), request in zip(files(writer), requests, strict=True):
        if request.size >= 200:
            os.rename(path, directory.staged(request.spool, request.offset))
        else:
            os.unlink(path)
    other = Writer(config)
    other.open()
    assert contents(other) == payloads
    assert other.missing_segments == 0
    other.close()


def test_a_staged_file_that_is_not_whole_is_not_taken(config, writer, spool):
    (request,) = commit_requests(spool, LONG[:1])
    writer.commit([request])
    ((path, _),) = files(writer)
    staged = SpoolDirectory(writer.layout).staged(request.spool, request.offset)
    os.rename(path, staged)
    with open(staged, "r+b") as file:
        file.write(b"x")
    other = Writer(config)
    other.open()
    assert other.missing_segments == 1
    assert files(other) == []
    other.close()


def test_a_long_payload_that_cannot_be_staged_fails_alone(config, writer, spool):
    first = commit_requests(spool, SHORT[:1])  # opens the spool file
    at = first[0].offset + first[0].size + len(SHORT[1])
    blocked = SpoolDirectory(writer.layout).staged(first[0].spool, at)
    with open(blocked, "wb"):
        pass
    results = spool.store([SHORT[1], LONG[0], LONG[1], SHORT[2]])
    assert [isinstance(result, StorageFailed) for result in results] == [False, True, False, False]
