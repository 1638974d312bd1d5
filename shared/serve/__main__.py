"""Serves one function: `python -m shared.serve`. FUNCTION_TARGET names the function, SERVURL or PORT the address.

The functions-framework loads the function. This module sets up the server as the framework's own command cannot:
graceful shutdown, a warm start, quiet logs, and asynchronous functions without the framework's layers.
"""

from __future__ import annotations

import contextlib
import ctypes
import faulthandler
import logging
import os
import signal
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import flask
import functions_framework

from shared import log_format
from shared.config import (
    ConfigError,
    TelemetryConfig,
    auth_from_env,
    limits_from_env,
    store_from_env,
    telemetry_from_env,
)
from shared.config.version import program_version
from shared.serve import command_line
from shared.serve.descriptors import connections_within

log = logging.getLogger(__name__)

STORING = ("datastore", "writer")  # targets that make the store's folders
_M_MMAP_THRESHOLD = -3  # malloc.h
FUNCTIONS = Path(__file__).resolve().parents[2] / "functions"


def main(arguments: Sequence[str] = ()) -> int:
    """Serve until SIGTERM or SIGINT; return the exit code, 2 for a configuration error."""
    if arguments:
        known = {"--help": command_line.USAGE, "-h": command_line.USAGE, "--version": program_version()}
        wanted = known.get(arguments[0])
        print((wanted or command_line.USAGE).rstrip(), file=sys.stdout if wanted else sys.stderr)
        return 0 if wanted else 2
    faulthandler.enable()  # a crash in a library's C code leaves the threads' stacks in the log
    target = os.environ.get("FUNCTION_TARGET", "datastore")
    source = FUNCTIONS / target / "main.py"
    telemetry = TelemetryConfig()
    try:
        telemetry = telemetry_from_env()
        log_format.set_up(target, as_json=telemetry.log_json)
        if not source.is_file():
            raise ConfigError(f"FUNCTION_TARGET={target!r}: must be one of {', '.join(_targets())}")
        settings, limits, trust = store_from_env(), limits_from_env(), auth_from_env()
        command_line.check_settings(os.environ, target)
        listener = command_line.listen(settings)
        if target in STORING:
            command_line.check_folders(settings)
    except ConfigError as error:
        if telemetry.log_json:
            log.critical("%s", error)
        else:
            print(error, file=sys.stderr)
        return 2
    for warning in command_line.mistyped(os.environ):
        log.warning("%s", warning)
    access = trust.mode(settings.host)
    if access == "exposed":
        log.warning(
            "AUTHENTICATION IS OFF and other machines reach %s: all of them may write, freeze and clean. "
            "Set AUTH_TOKENS or AUTH_ISSUER to switch it on, or SERVURL to 127.0.0.1.",
            settings.host,
        )
    _return_memory()
    limits = replace(limits, connections=connections_within(limits.connections))

    def export_spans() -> None:
        if telemetry.otlp_endpoint:
            from shared.serve import span_export

            span_export.start(target)

    app = functions_framework.create_app(target, str(source), "http")
    # The server ends on a signal and raises it again. Exiting then runs the handlers that close the store.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    signal.signal(signal.SIGINT, lambda *_: sys.exit(0))
    # Imported only here, because a process needs one of them.
    if isinstance(app, flask.Flask):
        from shared.serve import gunicorn_server

        gunicorn_server.serve(app, listener, limits, export_spans)
    else:
        from shared.serve import uvicorn_server
        from shared.web.asgi import ASGI_APPS

        export_spans()

        def started() -> None:
            if target == "datastore" and not telemetry.log_json:  # it is for people
                print(command_line.banner(settings, access), flush=True)

        uvicorn_server.serve(ASGI_APPS[target], listener, limits, trust.enabled, started)
    return 0


def _return_memory() -> None:
    """Have the C library return the memory of long bodies to the system when they are freed.

    By itself glibc keeps blocks of up to 32 MB, once one of that size has been freed.
    """
    with contextlib.suppress(AttributeError):  # another C library
        ctypes.CDLL(None).mallopt(_M_MMAP_THRESHOLD, 1 << 20)


def _targets() -> list[str]:
    return sorted(path.parent.name for path in FUNCTIONS.glob("*/main.py"))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
