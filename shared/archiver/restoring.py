"""Bringing the segments of an archive back to the volume, bit for bit."""

from __future__ import annotations

import hashlib
import os
import shutil
import time
from collections.abc import Iterable

import msgspec

from shared.archiver.freeing import verified
from shared.archiver.held import Held, change_stub, require_free, staging_folder
from shared.archiver.requests import Report
from shared.archives.index import Row
from shared.archives.manifest import Object, Stub, piece_name
from shared.archives.place import Place
from shared.checksum import crc32_of
from shared.domain.records import file_name
from shared.errors import RemoteFailed
from shared.failpoints import failpoint
from shared.volume.layout import Layout
from shared.volume.posix import PosixFileSystem, fsync_directory, storage_errors, sync_filesystem


def restore(layout: Layout, place: Place, archive: Held, report: Report) -> int:
    """Bring the segments back that are not on the volume; return how many. Nobody may free it meanwhile.

    Raises:
        RemoteFailed: the copy cannot be read, or is not what was verified.
        StorageFailed: the volume has no room, or refuses.
    """
    stub = archive.stub
    if stub is None:
        raise RemoteFailed(f"{archive.name!r} has not been copied yet")
    gone = [
        row
        for row in verified(place, stub).rows()
        if not _is_there(os.path.join(archive.folder, file_name(row.number)), row)
    ]
    require_free(layout, sum(row.size for row in gone))
    staging = staging_folder(layout, archive.prefix)
    try:
        count = fetch_segments(place, stub, gone, staging, report)
        sync_filesystem(layout.root)
        failpoint("archive.restored")
        with storage_errors("putting the segments in place"):
            for name in os.listdir(staging):
                os.rename(os.path.join(staging, name), os.path.join(archive.folder, name))
            fsync_directory(archive.folder)
    finally:
        shutil.rmtree(staging, ignore_errors=True)

    def note(now: Stub | None) -> Stub:
        return msgspec.structs.replace(now or stub, freeing=False, freed="", restored=time.time())

    change_stub(layout, archive.folder, note)
    return count


def fetch_segments(place: Place, stub: Stub, rows: Iterable[Row], staging: str, report: Report) -> int:
    """Write segments into a folder, each piece read once; return how many. Errors as `restore`."""
    by_piece: dict[int, list[Row]] = {}
    for row in rows:
        by_piece.setdefault(row.piece, []).append(row)
    files, count = PosixFileSystem(), 0
    for done, (number, wanted) in enumerate(sorted(by_piece.items())):
        report("restoring", done, len(by_piece))
        content = _whole(place, stub.prefix, stub.object(piece_name(number)))
        for row in wanted:
            segment = content[row.offset : row.offset + row.size]
            if crc32_of(segment) != row.crc32:
                raise RemoteFailed(f"{stub.prefix}: {file_name(row.number)} is not what was packed")
            with storage_errors("writing a segment"):
                files.pipe_file(os.path.join(staging, file_name(row.number)), segment)
            count += 1
    return count


def _is_there(path: str, row: Row) -> bool:
    try:
        return os.lstat(path).st_size == row.size
    except OSError:
        return False


def _whole(place: Place, prefix: str, one: Object) -> bytes:
    """A piece, compared with its checksum."""
    content = b"".join(place.chunks(f"{prefix}/{one.name}", one.size))
    if hashlib.sha256(content).hexdigest() != one.sha256:
        raise RemoteFailed(f"{prefix}/{one.name} is not what was put there")
    return content
