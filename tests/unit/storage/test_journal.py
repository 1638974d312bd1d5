"""The storage library's pure parts: the fold, the journal's search, the configuration."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from shared.domain.records import OPEN, UPDATE, WRITE, Record, file_name
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
        page = [
            record.name for _, record in journal.stored_segments(file, count=count, after=file_name(after), limit=limit)
        ]
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
