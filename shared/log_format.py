"""Log lines: as text, or one JSON object a line with the keys of Knative's own logs."""

from __future__ import annotations

import logging
import sys
import threading
from datetime import UTC, datetime
from types import TracebackType
from typing import Any

import msgspec

from shared.trace_context import CURRENT, TraceContext

_TEXT = "%(asctime)s %(levelname)s %(name)s: %(message)s"
log = logging.getLogger(__name__)


def fields(trace: TraceContext | None = None, **more: object) -> dict[str, object]:
    """The `extra` of a log call: further members of its JSON object, and its trace if it is not the current one."""
    return {"trace": trace, "fields": more}


def _trace_of(record: logging.LogRecord) -> TraceContext | None:
    return getattr(record, "trace", None) or CURRENT.get()


class TextFormatter(logging.Formatter):
    """A line of text, which ends in its trace if it has one."""

    def __init__(self) -> None:
        super().__init__(_TEXT)

    def formatMessage(self, record: logging.LogRecord) -> str:
        """The line without an exception."""
        line = super().formatMessage(record)
        trace = _trace_of(record)
        return line if trace is None else f"{line} (trace {trace.trace_id}, span {trace.span_id})"


class JsonFormatter(logging.Formatter):
    """A JSON object on one line.

    Args:
        function: the name of the function.
    """

    def __init__(self, function: str) -> None:
        super().__init__()
        self._function = function

    def format(self, record: logging.LogRecord) -> str:
        """The line."""
        members: dict[str, Any] = {
            "timestamp": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")[:-6] + "Z",
            "severity": record.levelname,
            "logger": record.name,
            "function": self._function,
            "message": record.getMessage(),
        }
        if (trace := _trace_of(record)) is not None:
            members |= {"trace_id": trace.trace_id, "span_id": trace.span_id}
        members |= getattr(record, "fields", {})
        if record.exc_info and record.exc_info[0] is not None:
            members["stacktrace"] = self.formatException(record.exc_info)
        try:
            return msgspec.json.encode(members, enc_hook=str).decode()
        except UnicodeEncodeError:  # a character that is no UTF-8, as in a file name, must not cost the line
            return msgspec.json.encode(
                {name: _escaped(value) for name, value in members.items()}, enc_hook=str
            ).decode()


def _escaped(value: object) -> object:
    return value.encode(errors="backslashreplace").decode() if isinstance(value, str) else value


def set_up(function: str, *, as_json: bool, level: int = logging.INFO) -> None:
    """Log to standard error, all libraries included; as JSON also warnings, and exceptions that end the process."""
    handler = logging.StreamHandler()
    handler.setFormatter(JsonFormatter(function) if as_json else TextFormatter())
    logging.basicConfig(level=level, handlers=[handler], force=True)
    if as_json:
        logging.captureWarnings(True)
        sys.excepthook = _log_uncaught
        threading.excepthook = lambda args: _log_uncaught(args.exc_type, args.exc_value, args.exc_traceback)


def _log_uncaught(kind: type[BaseException], error: BaseException | None, traceback: TracebackType | None) -> None:
    if issubclass(kind, Exception) and error is not None:  # else the user, or the end of the process
        log.critical("uncaught %s", kind.__name__, exc_info=(kind, error, traceback))
