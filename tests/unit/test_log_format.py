"""The form of log lines."""

from __future__ import annotations

import json
import logging
import re
import sys
import threading
import warnings

import pytest

from shared import log_format
from shared.log_format import JsonFormatter, TextFormatter, fields
from shared.trace_context import parse, within
from shared.web.messages import Request, Response
from shared.web.refusals import RefusalLog

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
HERE = parse(f"00-{TRACE}-{SPAN}-01")


@pytest.fixture
def logged(caplog):
    """Log something; return the lines of both forms."""
    caplog.set_level("INFO")

    def log(message: str, *arguments, level=logging.INFO, **more) -> tuple[dict, str]:
        logging.getLogger("shared.some").log(level, message, *arguments, **more)
        return lines(caplog.records[-1])

    return log


def lines(record: logging.LogRecord) -> tuple[dict, str]:
    line = JsonFormatter("ingest").format(record)
    assert "\n" not in line
    return json.loads(line), TextFormatter().format(record)


def test_a_line(logged):
    found, text = logged("%d of %s", 3, "five\nsix", level=logging.WARNING)
    assert re.fullmatch(r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", found.pop("timestamp"))
    assert found == {
        "severity": "WARNING", "logger": "shared.some", "function": "ingest", "message": "3 of five\nsix",
    }  # fmt: skip
    assert text.endswith("WARNING shared.some: 3 of five\nsix")


def test_a_line_within_a_trace_names_it(logged):
    with within(HERE):
        found, text = logged("here")
    assert (found["trace_id"], found["span_id"]) == (TRACE, SPAN)
    assert text.endswith(f"shared.some: here (trace {TRACE}, span {SPAN})")
    found, _ = logged("there", extra=fields(HERE, status=400))
    assert (found["trace_id"], found["status"]) == (TRACE, 400)
    assert "trace_id" not in logged("nowhere")[0]


def test_an_exception_is_one_member(logged):
    try:
        raise ValueError("first\nsecond")
    except ValueError:
        with within(HERE):
            found, text = logged("failed", exc_info=True)
    assert found["message"] == "failed"
    assert found["stacktrace"].startswith("Traceback")
    assert found["stacktrace"].endswith("ValueError: first\nsecond")
    assert f"failed (trace {TRACE}, span {SPAN})\nTraceback" in text


def test_a_name_that_is_no_utf_8_does_not_cost_the_line():
    about = {"msg": "%s", "args": ("gwb\udcff.json",), **fields(path="/\udcff", of=object)}
    found, _ = lines(logging.makeLogRecord(about))  # not logged, because pytest could not report it
    assert (found["message"], found["path"]) == ("gwb\\udcff.json", "/\\udcff")


def test_a_refusal_has_its_parts_as_members(caplog):
    caplog.set_level("WARNING")
    request = Request("POST", "/sendF", {}, trace=HERE)
    response = Response(b'{"code":"ERRFMT","body":"send h"}\n', 400, headers={"X-Request-ID": "abc"})
    RefusalLog().note("POST", "/sendF", "10.0.0.1", request, response)
    RefusalLog().note("POST", "/x", "10.0.0.1", None, Response(b"Datastore frozen.", 503))
    (found, _), (plain, _) = map(lines, caplog.records)
    names = ("status", "code", "method", "path", "caller", "address", "reason", "request_id", "trace_id")
    assert [found[name] for name in names] == [
        400, "ERRFMT", "POST", "/sendF", "", "10.0.0.1", "send h", "abc", TRACE,
    ]  # fmt: skip
    assert (plain["code"], plain["reason"]) == ("", "Datastore frozen.")


def test_what_python_would_print_by_itself_is_logged_too(capsys):
    root, hooks = logging.getLogger(), (sys.excepthook, threading.excepthook, warnings.showwarning)
    handlers, level = root.handlers[:], root.level
    root.handlers.clear()  # pytest's own, which `set_up` would close
    try:
        log_format.set_up("freeze", as_json=True)
        with warnings.catch_warnings():
            warnings.simplefilter("always")
            warnings.warn("beware", stacklevel=1)
        thread = threading.Thread(target=lambda: 1 / 0)
        thread.start()
        thread.join()
        try:
            raise KeyError("end")
        except KeyError:
            sys.excepthook(*sys.exc_info())
    finally:
        logging.captureWarnings(False)
        sys.excepthook, threading.excepthook, warnings.showwarning = hooks
        root.handlers[:], root.level = handlers, level
    found = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert [(line["function"], line["severity"]) for line in found] == [
        ("freeze", "WARNING"), ("freeze", "CRITICAL"), ("freeze", "CRITICAL"),
    ]  # fmt: skip
    assert "beware" in found[0]["message"]
    assert "ZeroDivisionError" in found[1]["stacktrace"]
    assert "KeyError: 'end'" in found[2]["stacktrace"]
