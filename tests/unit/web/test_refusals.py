"""The log of refusals: bounded lines, and no line lost from the count."""

from __future__ import annotations

import pytest

from shared.auth.principal import Principal
from shared.web import refusals
from shared.web.messages import Request, Response
from shared.web.refusals import MAX_LINES, MAX_SAME, RefusalLog

REFUSED = Response(b'{"code":"ERRFMT"}', 400)


@pytest.fixture
def lines(caplog):
    caplog.set_level("WARNING", refusals.__name__)
    return lambda: [record.getMessage() for record in caplog.records]


def test_reads_are_logged_only_where_credentials_are_refused(lines):
    log = RefusalLog()
    for method, status in [("GET", 404), ("GET", 503), ("HEAD", 400), ("POST", 201), ("GET", 200)]:
        log.note(method, "/", "here", None, Response(b"", status))
    assert lines() == []
    for method, status in [("GET", 401), ("GET", 403), ("POST", 404), ("POST", 503)]:
        log.note(method, "/", "here", None, Response(b"", status))
    assert len(lines()) == 4


def test_one_client_has_few_lines_and_the_next_one_gives_the_number_left_out(lines, monkeypatch):
    log = RefusalLog()
    for _ in range(MAX_SAME + 7):
        log.note("POST", "/sendF", "here", None, REFUSED)
    log.note("POST", "/sendF", "there", None, REFUSED)
    assert len(lines()) == MAX_SAME + 1
    monkeypatch.setattr(refusals, "PERIOD", -1.0)  # the next minute
    log.note("POST", "/sendF", "here", None, REFUSED)
    assert lines()[-1].endswith("(7 more since the last such line)")


def test_all_clients_together_have_a_bounded_number_of_lines(lines):
    log = RefusalLog()
    for number in range(MAX_LINES * 30):
        log.note("POST", "/sendF", f"client {number}", None, REFUSED)
    assert len(lines()) == MAX_LINES
    assert max(len(log._seen), len(log._suppressed)) <= 1024


def test_a_line_names_client_and_reason_and_stays_one_line(lines):
    request = Request("POST", "/", {}, principal=Principal("eve\nroot", frozenset(), ""))
    RefusalLog().note("POST", "/x\nrefused", "here", request, Response(b"be\ncause", 403))
    [line] = lines()
    assert "\n" not in line
    assert "eve\\nroot" in line
    assert "be\\ncause" in line
