"""The storage library's pure parts: the fold, the journal's search, the configuration."""

from __future__ import annotations

import zlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.domain.records import OPEN, UPDATE, WRITE, Record, file_name
from shared.errors import JournalDamaged
from shared.storage import journal


def write_journal(path, names, junk_every=0):
    """A journal of segments with these numbers, with operators' records in between."""
    lines = [journal.encode(Record("info", 0, 0, "", "t", OPEN, 0, batch=1))]
    for i, number in enumerate(names):
        lines.append(journal.encode(Record("info", i, 7, file_name(number), "t", WRITE, 0, spool="s", offset=i)))
        if junk_every and i % junk_every == 0:
            lines.append(journal.encode(Record("info", i + 1, 7, "", "t", UPDATE, 0, user="x" * (i % 900))))
    path.write_bytes(b"".join(lines))


@settings(max_examples=60, deadline=None)
@given(data=st.data(), junk=st.sampled_from([0, 1, 7]))
def test_a_page_by_binary_search_is_the_page_by_reading_all(tmp_path_factory, data, junk):
    numbers = sorted(data.draw(st.sets(st.integers(10**18, 10**18 + 400), max_size=120)))
    path = tmp_path_factory.mktemp("journal") / "log"
    write_journal(path, numbers, junk)
    after = data.draw(st.integers(10**18 - 2, 10**18 + 402))
    limit = data.draw(st.none() | st.integers(1, 50))
    count = data.draw(st.integers(0, len(numbers)))
    with path.open("rb") as file:
        found = list(journal.stored_lines(file, count=count, after=file_name(after), limit=limit))
        assert [journal.record_of(line).name for line, _ in found] == [name for _, name in found]
        page = [name for _, name in found]
    assert page == [file_name(n) for n in numbers[:count] if n > after][:limit]


def test_a_record_survives_the_journal(tmp_path):
    record = Record(
        "info", 3, 99, file_name(10**18), "2026-01-01T00:00:00Z", WRITE, 5, "k\u00e9y\n\"", "ab", 7, 123, "V1", "V1:h",
        1e9, 2**-14, 300,
    )  # fmt: skip
    line = journal.encode(record)
    assert line.endswith(b"\n")
    assert line.count(b"\n") == 1
    assert journal.decode(line[:-1]) == record
    for i in range(len(line) - 1):
        assert journal.decode(line[:i] + bytes([line[i] ^ 1]) + line[i + 1 : -1]) is None


def test_each_entry_is_found_by_its_number(tmp_path):
    path = tmp_path / "log"
    write_journal(path, range(10**18, 10**18 + 300), junk_every=7)
    with path.open("rb") as file:
        found = [journal.name_at(file, index) for index in range(302)]
    assert found == [file_name(10**18 + i) for i in range(300)] + [None, None]


def test_a_list_stops_at_any_altered_byte_of_an_entry(tmp_path):
    path = tmp_path / "log"
    write_journal(path, range(10**18, 10**18 + 3))
    content = path.read_bytes()
    entry = content.splitlines()[2]
    begin, mark = content.index(entry), entry.index(b'"message":"Write file"')
    for i in [*range(mark), *range(mark + 22, len(entry))]:  # without its mark a line is taken for another kind's
        if entry[i] ^ 1 != ord("\n"):
            path.write_bytes(content[: begin + i] + bytes([entry[i] ^ 1]) + content[begin + i + 1 :])
            with path.open("rb") as file, pytest.raises(JournalDamaged, match=f"byte {begin}"):
                list(journal.stored_lines(file, count=3))


def test_an_entry_with_its_keys_in_another_order_is_listed(tmp_path):
    path = tmp_path / "log"
    write_journal(path, [10**18])
    body = b'{"Id":1,"level":"info","message":"Write file","name":"gwb1000000000000000001.json","size":7,"time":"t"'
    with path.open("ab") as file:
        file.write(b'%s,"crc":"%08x"}\n' % (body, zlib.crc32(body)))
    with path.open("rb") as file:
        assert [name for _, name in journal.stored_lines(file, count=2)] == [file_name(10**18), file_name(10**18 + 1)]
        assert [name for _, name in journal.stored_lines(file, count=1)] == [file_name(10**18)]
        assert journal.name_at(file, 1) == file_name(10**18 + 1)


def test_a_line_with_the_right_checksum_that_is_no_record_is_damage():
    body = b'{"level":"info","Id":0,"size":7,"name":"gwb1.json","time":"t","message":"Write file","at":"x"'
    with pytest.raises(JournalDamaged, match="no record"):
        journal.record_of(b'%s,"crc":"%08x"}' % (body, zlib.crc32(body)))


def test_a_record_of_a_later_release_is_read_without_its_further_members():
    """So that a journal may get optional members, and an older writer may take over."""
    line = journal.encode(Record("info", 0, 0, "", "t", UPDATE, 0, status="FROZEN", user="ada"))
    body = line[: line.rindex(b',"crc"')] + b',"unheard-of":{"of":[1]}'
    later = b'%s,"crc":"%08x"}' % (body, zlib.crc32(body))
    assert journal.decode(later) == journal.decode(line.rstrip())
    assert journal.decode(later) is not None
