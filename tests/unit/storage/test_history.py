"""The history of batches, from journals made by hand."""

from __future__ import annotations

import os
from pathlib import Path

from shared.config import store_from_env
from shared.domain.messages import ArchiveSummary, Change
from shared.domain.records import CLEAN, OPEN, UPDATE, WRITE, Record, file_name
from shared.storage import history, journal
from shared.volume.layout import Layout

BEGIN = 1_795_000_000 * 10**9


def record(kind: str, **fields) -> Record:
    return Record("info", fields.pop("index", 0), 10, fields.pop("name", ""), "2026-11-28T09:00:00Z", kind, 0, **fields)


def written(n: int) -> list[Record]:
    about = {"dt": 0.5, "samples": 2}
    return [
        record(WRITE, index=i, name=file_name(BEGIN + i * 10**9), t0=1000.0 + i, channel=f"V1:{i % 2}", **about)
        for i in range(n)
    ]


def put(path: str, records: list[Record]) -> None:
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Path(path).write_bytes(b"".join(map(journal.encode, records)))


def test_a_journal_read_in_parts_says_the_same_as_one_read_at_once(tmp_path):
    path = str(tmp_path / "journal")
    put(path, [record(OPEN, batch=7), *written(90), record(UPDATE, status="FROZEN", user="ada"), record(CLEAN)])
    told = []
    for budget in (1 << 20, 300):
        reading = history._Reading(os.path.getsize(path))
        with open(path, "rb", buffering=0) as file:
            while reading.offset < reading.size:
                assert reading.read_on(file, budget)
                part = ArchiveSummary("a")
                reading.fill(part)
                assert (part.reading is None) == (reading.offset == reading.size)
        told.append(part)
    assert told[0] == told[1]
    assert (told[0].batch, told[0].span, told[0].channels) == (7, (1000.0, 1091.0 - 1), ["V1:0", "V1:1"])
    assert told[0].arrived == []  # its cleanall was long ago


def test_the_freeze_is_found_behind_many_others(tmp_path):
    layout = Layout(store_from_env({"ROOT": str(tmp_path)}))
    long = "x" * 4000
    frozen = [record(UPDATE, status="FROZEN", user=user, token=long) for user in ("ada", *["bob"] * 20)]
    put(layout.journal, [record(OPEN, batch=2), *written(3), *frozen])
    found = history.open_batch(layout)
    assert found is not None
    assert found.frozen is not None
    assert (found.batch, found.frozen.user, len(found.changes)) == (2, "ada", 21)


def test_only_a_freeze_since_the_batch_was_last_open_counts():
    def changes(text: str) -> list[Change]:
        words = {"f": "frozen", "t": "thawed", "c": "cleaned"}
        return [Change("", words[letter], 1, user=str(i)) for i, letter in enumerate(text)]

    first = {text: found.user if (found := history.first_freeze(changes(text))) else None
             for text in ("", "f", "ff", "ft", "ftf", "fftffc", "t")}  # fmt: skip
    assert first == {"": None, "f": "0", "ff": "0", "ft": None, "ftf": "2", "fftffc": "3", "t": None}


def test_the_trace_of_the_freeze_that_closed_the_batch(tmp_path):
    layout = Layout(store_from_env({"ROOT": str(tmp_path)}))
    assert history.freeze_trace(layout) is None
    first, other = (f"00-{number:032x}-{number:016x}-01" for number in (1, 2))
    freeze, thaw = {"status": "FROZEN"}, {"status": "OPERATIONAL"}
    for records, expected in (
        ([], None),
        ([{**freeze, "traceparent": first}, {**freeze, "traceparent": other}, freeze], first),
        ([{**freeze, "traceparent": first}, thaw], None),
        ([{**freeze, "traceparent": first}, thaw, {**freeze, "traceparent": other}], other),
        ([freeze, {**freeze, "traceparent": other}], None),
        ([{**freeze, "traceparent": "garbage"}], None),
    ):
        put(layout.journal, [record(OPEN, batch=1), *written(2), *(record(UPDATE, **about) for about in records)])
        found = history.freeze_trace(layout)
        assert (found and found.members["traceparent"]) == expected
