"""Rights on the store's folders: what keeps a process from writing, in words that an operator can act on."""

from __future__ import annotations

import os
import stat


def explained(text: str, path: str) -> str:
    """The text of an error about `path`, with the hint of what rights are missing there, if they are."""
    return f"{text.rstrip('.')}. {more}" if (more := hint(path)) else text


def hint(path: str) -> str:
    """Why this process may not write at `path`, and what to do; empty if it may.

    Where `path` does not exist, the nearest folder above it that does decides. On a file system that is mounted
    read-only its mode decides, because a reader asks for the writer, which runs as the same user.
    """
    folder = path
    while not _exists(folder) and folder != os.path.dirname(folder):
        folder = os.path.dirname(folder)
    try:
        if os.statvfs(folder).f_flag & os.ST_RDONLY:
            writable = _by_mode(os.stat(folder))
        else:
            writable = os.access(folder, os.W_OK | (os.X_OK if os.path.isdir(folder) else 0))
        found = os.stat(folder)
    except OSError:
        return ""
    if writable:
        return ""
    user, group, mode = os.geteuid(), os.getegid(), stat.S_IMODE(found.st_mode)
    groups = ",".join(map(str, sorted({group, *os.getgroups()})))
    return (
        f"{folder} belongs to user {found.st_uid} and group {found.st_gid} with mode {mode:04o}; "
        f"user {user} with groups {groups} may not write there. "
        f"Run `chown {user}:{group} {folder}` as root, or knative/cluster/volumes.yaml in a cluster."
    )


def _exists(path: str) -> bool:
    try:
        os.stat(path)
    except OSError:  # not there, or behind a folder that may not be entered
        return False
    return True


def _by_mode(found: os.stat_result) -> bool:
    if os.geteuid() == 0:
        return True
    if found.st_uid == os.geteuid():
        wanted = stat.S_IWUSR
    elif found.st_gid in (os.getegid(), *os.getgroups()):
        wanted = stat.S_IWGRP
    else:
        wanted = stat.S_IWOTH
    return bool(found.st_mode & wanted)
