"""Segments and commit requests to test with."""

from __future__ import annotations

import json


def segment(n=3, t0=1126259446.0, dt=1 / 4096, **extra) -> bytes:
    """A small valid segment; distinct `t0` or `n` make distinct bodies."""
    return json.dumps({"h": [i * 1e-21 for i in range(1, n + 1)], "t": [t0, dt], **extra}).encode()
