"""The storage library's pure parts: the fold, the journal's search, the configuration."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.config import ConfigError, limits_from_env, store_from_env
from shared.domain.records import CLEAN, OPEN, UPDATE, WRITE, Record, file_name, file_number
from shared.domain.state import State, apply
from shared.storage import journal
from shared.volume.layout import Layout
from tests.support.servers import Process


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
        page = [name for _, name in journal.stored_segments(file, count=count, after=file_name(after), limit=limit)]
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


def test_the_fold_counts_and_remembers():
    records = [
        Record("info", 0, 0, "", "t", OPEN, batch=4, last=17, previous="01 02 03"),
        Record("info", 0, 10, file_name(20), "t", WRITE),
        Record("info", 1, 32, file_name(21), "t", WRITE),
        Record("info", 2, 42, "", "t", UPDATE, status="FROZEN", user="op", token="x"),
        Record("info", 2, 42, "", "t", CLEAN, archive="04 05 06"),
    ]
    state = State()
    for record in records:
        state = apply(state, record)
    assert state == State(4, 2, 42, "FROZEN", "op", "x", 21, "01 02 03", "04 05 06")
    with pytest.raises(ValueError, match="unknown"):
        apply(state, Record("info", 0, 0, "", "t", "Surprise"))
    assert file_number(file_name(12345)) == 12345


def test_the_original_environment_is_understood():
    config = store_from_env(
        {
            "ADMROOT": "/s/appdata/adm/", "ADMFNM": "A.json", "DSST": "D.json", "DATAROOT": "/s/vol/batch/",
            "LOGROOT": "/s/log", "LOGSTREAM": "L.json", "DTVOLROOT": "/s/vol/", "SERVURL": ":9999", "WCHSZ": "10",
        }
    )  # fmt: skip
    assert (config.host, config.port, config.queue_length) == ("0.0.0.0", 9999, 10)
    assert Layout(config).stat_view == "/s/appdata/adm/A.json"
    assert Layout(config).dstat_view == "/s/appdata/adm/D.json"
    assert Layout(config).journal == "/s/log/L.json"
    assert (config.data_root, Layout(config).spool) == ("/s/vol/batch", "/s/vol/.spool")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("SERVURL", "8080"), ("SERVURL", "x:y"), ("SERVURL", ":70000"), ("WCHSZ", "0"), ("WCHSZ", "many"),
        ("MAX_BODY", "-1"), ("COMMIT_TIMEOUT", "0"), ("COMMIT_TIMEOUT", "nan"), ("K_SINK", "broker"),
        ("WRITER_URL", "ftp://x"), ("ADMFNM", "../x"), ("SEGMENT_FACTS", "maybe"), ("DATAROOT", "/elsewhere/data"),
    ],
)  # fmt: skip
def test_a_bad_value_is_named(name, value):
    read = limits_from_env if name.startswith("MAX_") else store_from_env
    with pytest.raises(ConfigError, match=name):
        read({name: value})


@pytest.mark.parametrize("target", ["ingest", "freeze"])
def test_a_missing_writer_url_ends_the_process_at_start(target, tmp_path):
    process = Process(target, {"ROOT": str(tmp_path)})
    process.start(wait="")
    assert process.wait_dead() != 0
    assert "WRITER_URL" in process.text()


@pytest.mark.parametrize(("name", "value"), [("FUNCTION_TARGET", "nothing"), ("SERVURL", "nowhere")])
def test_a_bad_setting_ends_the_process_with_one_clear_line(name, value, tmp_path):
    process = Process("datastore", {"ROOT": str(tmp_path)})
    process.start(wait="", **{name: value})
    assert process.wait_dead() == 2
    assert process.text().startswith(f"{name}='{value}': must be")
    assert len(process.text().splitlines()) == 1
