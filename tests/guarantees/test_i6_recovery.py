"""I6: the state is a fold of the journal; a torn tail is cut, damage stops the writer."""

from __future__ import annotations

import json
import os
import shutil

import pytest

from tests.support.builders import segment
from tests.support.servers import http


@pytest.fixture
def filled(topology, new_store):
    """A stopped store that holds 20 segments, each its own group."""
    store = new_store(topology)
    for n in range(1, 21):
        store.stored(segment(n))
    store.freeze("operator", "s3cret")
    before = store.check_exact(), store.dstat(), store.names()
    store.stop()
    return store, before


def test_i6_views_deleted_while_it_is_down_come_back_equal(filled):
    store, before = filled
    contents = [view.read_bytes() for view in store.views]
    for view in store.views:
        view.unlink()
    store.start()
    assert [view.read_bytes() for view in store.views] == contents
    assert (store.check_exact(), store.dstat(), store.names()) == before


def test_i6_views_deleted_while_it_runs_come_back(filled):
    store, _ = filled
    store.start()
    contents = [view.read_bytes() for view in store.views]
    for view in store.views:
        view.unlink()
    store.writer.stop()
    store.writer.start("/health/readiness")
    assert [view.read_bytes() for view in store.views] == contents


@pytest.mark.parametrize("tail", ["cut", "half a line", "unwritten page", "group with a hole"])
def test_i6_a_torn_tail_is_cut(filled, tail):
    store, before = filled
    whole = store.journal.read_bytes()
    last = whole.splitlines()[-2]  # before it stands the freeze
    if tail == "cut":  # the last, unacknowledged line lost its end
        store.journal.write_bytes(whole + last[:-7])
    elif tail == "half a line":
        store.journal.write_bytes(whole + last[: len(last) // 2])
    elif tail == "unwritten page":
        store.journal.write_bytes(whole + b"\0" * 4096)
    else:  # of a group of two, the second line's page was written, the first's not
        from shared.domain.records import Record
        from shared.storage import journal

        lines = [
            journal.encode(Record("info", 20, 1, f"gwb{9 * 10**18 + i}.json", "t", "Write file", len(whole)))
            for i in range(2)
        ]
        store.journal.write_bytes(whole + b"\0" * (len(lines[0]) - 1) + b"\n" + lines[1])
    store.start()
    assert store.journal.read_bytes() == whole
    assert (store.check_exact(), store.dstat(), store.names()) == before
    store.request("POST", "/upddsc", json.dumps({"dstatus": "OPERATIONAL"}))
    store.stored(segment(99))
    assert store.check_exact()["n_itm"] == 21


@pytest.mark.parametrize("damage", ["bit", "line lost its end", "first line", "zeroed page", "swapped digits"])
def test_i6_damage_before_the_tail_stops_the_writer_and_names_the_place(filled, damage):
    store, _ = filled
    whole = bytearray(store.journal.read_bytes())
    starts = [0] + [i + 1 for i, c in enumerate(whole) if c == 10]
    at = starts[7]
    if damage == "bit":
        whole[at + 40] ^= 1
    elif damage == "line lost its end":
        del whole[starts[8] - 30 : starts[8]]
    elif damage == "first line":
        at = 0
        whole[3] ^= 4
    elif damage == "zeroed page":
        whole[at + 5 : at + 600] = b"\0" * 595
    else:
        position = whole.index(b'"size":', at) + 7
        whole[position : position + 2] = whole[position : position + 2][::-1]
        if whole[position] == whole[position + 1]:
            whole[position] = 57 if whole[position] != 57 else 56
    store.journal.write_bytes(whole)
    files = {p: p.read_bytes() for p in store.data.iterdir()}
    store.start(ready=False)
    ready = http.request("GET", store.writer.url + "/health/readiness")
    assert ready.status == 503
    assert ready.json()["code"] == "DAMAGED"
    assert f"{store.journal}: damaged at byte {at}" in ready.json()["body"]
    assert http.request("GET", store.writer.url + "/health/liveness").status == 200
    assert store.send(segment()).status == 503
    assert store.cleanall().status == 503
    assert store.journal.read_bytes() == whole
    assert {p: p.read_bytes() for p in store.data.iterdir()} == files


def test_i6_damage_while_it_runs_stops_it_too(topology, new_store):
    store = new_store(topology)
    for n in range(1, 5):
        store.stored(segment(n))
    with store.journal.open("r+b") as file:
        file.seek(0, os.SEEK_END)
        file.write(b'{"nonsense":1}\n')
    answer = store.send(segment())
    assert (answer.status, answer.json()["code"]) == (503, "DAMAGED")
    assert http.request("GET", store.writer.url + "/health/readiness").status == 503


def test_i6_data_without_its_journal_is_refused(filled):
    store, _ = filled
    store.journal.unlink()
    store.start(ready=False)
    ready = http.request("GET", store.writer.url + "/health/readiness")
    assert ready.status == 503
    assert "missing or empty" in ready.json()["body"]
    assert not store.journal.exists()


def test_i6_a_journal_without_its_data_is_refused(filled):
    store, _ = filled
    shutil.move(store.data, store.root / "elsewhere")
    store.start(ready=False)
    ready = http.request("GET", store.writer.url + "/health/readiness")
    assert ready.status == 503
    assert "missing" in ready.json()["body"]
    store.stop()
    shutil.move(store.root / "elsewhere", store.data)
    store.start()
    assert store.check_exact()["n_itm"] == 20


def test_i6_a_spool_with_a_torn_tail_changes_nothing(topology, new_store):
    store = new_store(topology)
    names = [store.stored(segment(n)) for n in range(1, 6)]
    for process in {store.writer, store.ingest}:
        process.kill()
    (spool,) = (store.root / "datavar/.spool").glob("*.log")
    with spool.open("ab") as file:
        file.write(b'{"h":[1,2,')
    (store.data / names[2]).write_bytes(b"")  # as a power loss may leave a file that was not synced
    (store.data / names[3]).unlink()
    for process in {store.writer, store.ingest}:
        process.start()
        process.wait()
    store.check_exact()
    assert store.files() == {name: segment(n) for n, name in enumerate(names, 1)}
