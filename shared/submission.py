"""What ingest asks of the writer about a segment, and what it is answered; these travel between them as JSON."""

from __future__ import annotations

import msgspec


class Submission(msgspec.Struct, omit_defaults=True, gc=False, frozen=True):
    """A segment put forward for the batch: where its payload is durable, and what its record will say."""

    spool: str
    at: int
    size: int
    sum: int
    key: str = ""
    detector: str = ""
    channel: str = ""
    t0: float | None = None
    dt: float | None = None
    n: int = 0


class Verdict(msgspec.Struct, omit_defaults=True, gc=False, frozen=True):
    """What became of a submission: stored as `name` with `size` bytes, or refused with an error's `code`.

    `fresh` is true where the submission's own staged payload became that file; otherwise it is still staged, and
    its owner removes it.
    """

    name: str = ""
    size: int = 0
    fresh: bool = False
    code: str = ""
