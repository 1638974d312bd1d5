"""The archives on a volume, with their final counts."""

from __future__ import annotations

import contextlib
import os

from shared.archives.manifest import read_stub
from shared.decoding import convert
from shared.domain.messages import ArchiveSummary
from shared.errors import DatastoreError
from shared.volume.layout import Layout
from shared.volume.posix import storage_errors
from shared.volume.views import read_view


def newest_archives(layout: Layout) -> list[tuple[str, str]]:
    """The archives, newest first: name, and path of the final counts.

    Raises:
        StorageFailed: the volume cannot be listed.
    """
    found = []
    with storage_errors("listing the archives"):
        for name in os.listdir(layout.root):
            folder = layout.archive(name)
            path = os.path.join(folder, layout.stat_name)
            if os.path.islink(folder):
                continue
            with contextlib.suppress(OSError):
                found.append((os.lstat(path).st_mtime_ns, name, path))
    return [(name, path) for _, name, path in sorted(found, reverse=True)]


def summary(folder: str, name: str, path: str) -> ArchiveSummary:
    """What is known of an archive: its name, the final counts at `path`, and whether it has been copied elsewhere."""
    found = convert({"name": name, **_counts(path)}, ArchiveSummary)
    try:
        stub = read_stub(folder)
    except (OSError, ValueError):
        return found
    if stub is not None:
        found.copied, found.elsewhere = stub.verified, bool(stub.freed)
    return found


def _counts(path: str) -> dict[str, object]:
    """The final counts of an archive, or why they cannot be read: one bad archive must not hide the others."""
    try:
        return read_view(path)
    except DatastoreError:
        return {"error": f"{os.path.basename(path)} cannot be read"}
