"""Whole lists of names: the same with what is kept as without, and read anew where the journal is not what it was."""

from __future__ import annotations

import json
import os
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.domain.records import OPEN, UPDATE, WRITE, Record, file_name
from shared.errors import JournalDamaged
from shared.storage import journal
from shared.storage.listed_names import ListedNames

FIRST = 10**18 + 10**6


def line(index: int, number: int | None = None) -> bytes:
    name = file_name(FIRST + index if number is None else number)
    return journal.encode(Record("info", index, 7, name, "t", WRITE, 0, spool="s", offset=index))


def opened() -> bytes:
    return journal.encode(Record("info", 0, 0, "", "t", OPEN, 0, batch=1))


def listed(names: ListedNames, path, count: int, identity: int = 1) -> list[str]:
    with path.open("rb") as file:
        return json.loads(b"[" + b"".join(names.encoded(file, identity, count)) + b"]")


def kept(names: ListedNames, path, count: int) -> int:
    """How many names are known before a line is read."""
    with path.open("rb") as file:
        return next(names.encoded(file, 1, count)).count(b"gwb")


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 1 << 32), appended=st.lists(st.sampled_from([0, 1, 2, 30, 400]), min_size=1, max_size=6))
def test_a_list_is_that_of_all_lines_however_often_it_was_asked_for(tmp_path_factory, seed, appended):
    dice = random.Random(seed)
    path = tmp_path_factory.mktemp("journal") / "log"
    path.write_bytes(opened())
    names, written = ListedNames(), 0
    for more in appended:
        with path.open("ab") as file:
            for index in range(written, written + more):
                file.write(line(index))
                if dice.random() < 0.1:
                    user = dice.choice(["x", WRITE, f'"message":"{WRITE}"'])
                    file.write(journal.encode(Record("info", index + 1, 7, "", "t", UPDATE, 0, user=user)))
        written += more
        count = dice.randint(0, written)
        with path.open("rb") as file:
            expected = [name for _, name in journal.stored_lines(file, count=count)]
        assert listed(names, path, count) == expected
        assert len(expected) == count


def test_what_is_new_is_read_and_the_rest_is_known(tmp_path):
    path = tmp_path / "log"
    path.write_bytes(opened() + b"".join(map(line, range(1000))))
    names = ListedNames()
    assert len(listed(names, path, 1000)) == 1000
    assert kept(names, path, 1000) == 1000
    with path.open("ab") as file:
        file.write(line(1000) + line(1001)[:-5])
    assert listed(names, path, 1001)[-1] == file_name(FIRST + 1000)
    assert kept(names, path, 1001) == 1001
    assert len(listed(names, path, 1000)) == 1000, "a segment that is not acknowledged was listed"


def test_bytes_that_are_altered_are_not_passed_over(tmp_path):
    path = tmp_path / "log"
    content = opened() + b"".join(map(line, range(1000)))
    path.write_bytes(content)
    names = ListedNames()
    listed(names, path, 1000)
    at = content.index(b"gwb", 5000) + 10
    with path.open("r+b") as file:  # in place: the size and the file stay
        os.pwrite(file.fileno(), b"7", at)
    with pytest.raises(JournalDamaged, match="damaged at byte"):
        listed(names, path, 1000)
    other = line(0, FIRST - 1)
    assert len(other) == len(line(0))
    with path.open("r+b") as file:
        os.pwrite(file.fileno(), content[at : at + 1], at)
        os.pwrite(file.fileno(), other, len(opened()))
    assert listed(names, path, 1000)[0] == file_name(FIRST - 1)


def test_a_shorter_journal_and_another_batch_are_read_anew(tmp_path):
    path = tmp_path / "log"
    path.write_bytes(opened() + b"".join(map(line, range(1000))))
    names = ListedNames()
    listed(names, path, 1000)
    with path.open("r+b") as file:
        file.truncate(len(opened()) + len(line(0)))
    assert listed(names, path, 1000) == [file_name(FIRST)]
    (tmp_path / "new").write_bytes(opened() + line(0, FIRST + 5000))
    os.replace(tmp_path / "new", path)
    assert listed(names, path, 1, identity=2) == [file_name(FIRST + 5000)]


def test_damage_behind_what_is_acknowledged_is_not_looked_at(tmp_path):
    path = tmp_path / "log"
    path.write_bytes(opened() + b"".join(map(line, range(3))) + line(3).replace(b"Id", b"id"))
    assert len(listed(ListedNames(), path, 3)) == 3
    with pytest.raises(JournalDamaged):
        listed(ListedNames(), path, 4)
