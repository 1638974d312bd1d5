"""File descriptors of a server: as many as the process may have, and fewer connections than that."""

from __future__ import annotations

import logging
import resource

log = logging.getLogger(__name__)

_RESERVED = 256  # for files, folders being synced, connections to other functions and their like


def connections_within(wanted: int) -> int:
    """Raise the soft limit of descriptors to the hard one, and return how many connections fit below it.

    Args:
        wanted: MAX_CONNECTIONS.
    """
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    if hard == resource.RLIM_INFINITY or wanted + _RESERVED <= hard:
        return wanted
    fitting = max(hard - _RESERVED, hard // 2)
    log.warning(
        "MAX_CONNECTIONS=%d is lowered to %d, because this process may open %d files; raise `ulimit -Hn`",
        wanted,
        fitting,
        hard,
    )
    return fitting
