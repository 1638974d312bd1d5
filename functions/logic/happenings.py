"""The events that the status page lists: starts, freezes, cleanalls, verdicts of preproc, refusals."""

from __future__ import annotations

import time
from collections import deque

import msgspec

from shared import metrics
from shared.domain.messages import ArchiveList, Change, PreprocState
from shared.domain.records import utc_now

_SHOWN = 40
_MAX_REFUSALS = 40  # entries
_TOGETHER = 60.0  # seconds; refusals with one code within them are one entry


class Happening(msgspec.Struct, omit_defaults=True):
    """An event.

    Attributes:
        time: UTC, ISO 8601; of refusals, when the newest was noticed.
        what: "started", "opened", "frozen", "thawed", "cleaned", "products" or "refused".
        batch: number of the batch.
        user, by, archive: as in `domain.messages.Change`.
        verdict: of preproc.
        code, count: of refusals: the error's code, and the number of requests.
    """

    time: str
    what: str
    batch: int = 0
    user: str = ""
    by: str = ""
    archive: str = ""
    verdict: str = ""
    code: str = ""
    count: int = 0


class Happenings:
    """Collects events. Refusals are those of this process since it began, noticed when a document is made."""

    def __init__(self) -> None:
        self._started = utc_now()
        self._counted = metrics.refusals()
        self._refused: deque[tuple[float, Happening]] = deque(maxlen=_MAX_REFUSALS)

    def newest(self, batches: ArchiveList, preproc: PreprocState | None) -> list[Happening]:
        """The newest events, newest first."""
        self._notice_refusals()
        # Newest first within one second too, as far as that is known: the sort keeps the order of equals.
        found = [*(refused for _, refused in reversed(self._refused)), Happening(self._started, "started")]
        if (current := batches.open) is not None:
            if preproc is not None and preproc.since and preproc.state != "running":
                found.append(Happening(preproc.since, "products", current.batch, verdict=preproc.state))
            found += map(_of_change, reversed(current.changes))
            found.append(Happening(current.opened, "opened", current.batch))
        for archive in batches.archives:
            changes = list(map(_of_change, reversed(archive.changes)))
            made = [Happening(archive.made, "products", archive.batch, verdict=archive.verdict)]
            found += [*changes[:1], *(made if archive.verdict else []), *changes[1:]]
        found.sort(key=lambda happening: happening.time, reverse=True)
        return found[:_SHOWN]

    def _notice_refusals(self) -> None:
        counted, now = metrics.refusals(), time.monotonic()
        for code, number in counted.items():
            more = number - self._counted.get(code, 0)
            if not more:
                continue
            same = next((h for noticed, h in self._refused if h.code == code and now - noticed < _TOGETHER), None)
            if same is None:
                self._refused.append((now, Happening(utc_now(), "refused", code=code, count=more)))
            else:
                same.time, same.count = utc_now(), same.count + more
        self._counted = counted


def _of_change(change: Change) -> Happening:
    return Happening(change.time, change.what, change.batch, change.user, change.by, change.archive)
