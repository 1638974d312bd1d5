"""Settings that a function does not start with, named in its log."""

from __future__ import annotations

import pytest

from tests.support.servers import Process


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
