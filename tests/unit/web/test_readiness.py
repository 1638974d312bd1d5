"""What keeps a function from being ready stands in its log: nobody sees the answers to probes."""

from __future__ import annotations

from typing import Any

import pytest

from shared.errors import Recovering, StorageFailed
from shared.web import app
from shared.web.messages import Request


def test_each_reason_is_logged_once_until_the_function_is_ready(caplog):
    caplog.set_level("WARNING", app.__name__)
    starting, no_rights = Recovering("starting"), StorageFailed("no rights")
    reasons: list[Exception] = []

    def check():
        if reasons:
            raise reasons[0]

    probe: Any = app.App({}, check).handler("GET", "/health/readiness")  # a plain handler
    for reason in (starting, starting, no_rights, None, starting):
        reasons[:] = [reason] if reason else []
        if reason is None:
            assert probe(Request("GET", "/health/readiness", {})).status == 200
            continue
        with pytest.raises(type(reason)):
            probe(Request("GET", "/health/readiness", {}))
    assert caplog.messages == [
        f"not ready: {line}" for line in ("Recovering: starting", "StorageFailed: no rights", "Recovering: starting")
    ]
