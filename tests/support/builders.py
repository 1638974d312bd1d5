"""Segments and commit requests to test with."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from shared.domain.commit import CommitRequest
from shared.domain.request_key import RequestKey
from shared.ingest.spool_writer import SpoolWriter
from shared.volume.spool import SpoolPosition


def segment(n=3, t0=1126259446.0, dt=1 / 4096, **extra) -> bytes:
    """A small valid segment; distinct `t0` or `n` make distinct bodies."""
    return json.dumps({"h": [i * 1e-21 for i in range(1, n + 1)], "t": [t0, dt], **extra}).encode()


def commit_requests(
    spool: SpoolWriter, payloads: Sequence[bytes], keys: Sequence[str | RequestKey] = (), **fields: Any
) -> list[CommitRequest]:
    """Put payloads into the spool, as an ingest does, and make the requests to commit them.

    Args:
        spool: stays open.
        payloads: of one group.
        keys: idempotency keys, one for each payload; none by default.
        fields: of all the requests, for instance `t0`.
    """
    positions = [position for position in spool.store(payloads) if isinstance(position, SpoolPosition)]
    assert len(positions) == len(payloads), "the spool has refused a payload"
    named = [RequestKey("", key) if key and isinstance(key, str) else key or None for key in keys]
    requests = zip(positions, named or [None] * len(positions), strict=True)
    return [CommitRequest(at.spool, at.offset, at.size, at.crc32, key=key, **fields) for at, key in requests]
