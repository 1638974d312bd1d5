"""Removing the local copy of an archive that is safe elsewhere. The one place that removes segments."""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Iterator

import msgspec

from shared.archiver.held import Held, change_stub, held, low_water, space
from shared.archiver.requests import Report, Requests
from shared.archives import manifest as names
from shared.archives.index import Index
from shared.archives.manifest import Stub
from shared.archives.place import Place
from shared.config import Keep
from shared.domain.records import file_name, utc_now
from shared.errors import DatastoreError, RemoteFailed, StorageFailed
from shared.failpoints import failpoint
from shared.storage.batches import Batches
from shared.volume.layout import Layout
from shared.volume.posix import fsync_directory, storage_errors

log = logging.getLogger(__name__)


def due(layout: Layout, batches: Batches, keep: Keep) -> Iterator[Held]:
    """The archives whose segments may be removed now, oldest first. The volume is looked at again before each.

    One that is being brought back is not among them.

    Raises:
        StorageFailed: the volume cannot be read.
    """
    wanted = set(Requests(layout).restores())
    candidates = [one for one in held(layout, batches) if one.safe and one.here and one.name not in wanted]
    for one in sorted(candidates, key=lambda one: -one.age):
        assert one.stub is not None
        unfinished = one.stub.freeing
        if unfinished or _is_low(layout, keep) or (keep.seconds is not None and one.age >= keep.seconds):
            yield one


def _is_low(layout: Layout, keep: Keep) -> bool:
    free, total = space(layout)
    return free < max(keep.free or 0, low_water(total))


def free(layout: Layout, place: Place, archive: Held) -> int:
    """Remove the segments of an archive from the volume, after another look at the copy; return how many.

    Raises:
        RemoteFailed: the copy cannot be read, is not what was verified, or is lost. Nothing is removed.
        StorageFailed: the volume refuses.
    """
    with storage_errors(f"reading remote.json of {archive.name!r}"):
        found = names.read_stub(archive.folder)  # as it is now: archives before it took their time
    stub = _reliable(archive, found)
    try:
        index = verified(place, stub)
    except _Gone as gone:
        _note_lost(layout, archive, stub, gone)
        raise
    _note_freeing(layout, archive)
    failpoint("archive.freeing")
    removed = 0
    with storage_errors(f"removing the segments of {archive.name!r}"):
        for row in index.rows():
            path = os.path.join(archive.folder, file_name(row.number))
            try:
                if os.lstat(path).st_size != row.size:  # not what is in the copy
                    continue
                os.unlink(path)
            except FileNotFoundError:
                continue
            removed += 1
            if removed == 1:
                failpoint("archive.half")
        fsync_directory(archive.folder)
    failpoint("archive.freed")
    change_stub(layout, archive.folder, lambda now: msgspec.structs.replace(now or stub, freeing=True, freed=utc_now()))
    log.info(
        "archive %r: %d segments removed from the volume, they are safe below %s", archive.name, removed, stub.prefix
    )
    return removed


def _reliable(archive: Held, stub: Stub | None) -> Stub:
    """What `remote.json` says, if the copy can be relied on.

    Raises:
        RemoteFailed: there is none, or it has been found lost.
    """
    if stub is None:
        raise RemoteFailed(f"{archive.name!r} has not been copied yet")
    if stub.lost:
        raise RemoteFailed(f"the copy of {archive.name!r} is lost: {stub.lost}")
    return stub


def _note_freeing(layout: Layout, archive: Held) -> None:
    """Note that the removal has begun. A full volume may refuse that: what follows makes room, and is safe without.

    Raises:
        RemoteFailed: the copy has been found lost meanwhile.
    """
    try:
        change_stub(layout, archive.folder, lambda now: msgspec.structs.replace(_reliable(archive, now), freeing=True))
    except StorageFailed as error:
        log.warning("%s", error)


def _note_lost(layout: Layout, archive: Held, stub: Stub, gone: _Gone) -> None:
    change_stub(layout, archive.folder, lambda now: msgspec.structs.replace(now or stub, lost=str(gone)))


class _Gone(RemoteFailed):
    """The copy is not there, or not what was verified: that does not pass by itself."""


def verified(place: Place, stub: Stub) -> Index:
    """The index of a copy, after a look at its manifest and at the sizes of all objects.

    Raises:
        RemoteFailed: the copy cannot be read, or is not what was verified.
    """
    there = place.sizes(stub.prefix)
    name = stub.manifest.name
    if name not in there:
        raise _Gone(f"{stub.prefix}/{name} is gone")
    content = place.read(f"{stub.prefix}/{name}")
    if hashlib.sha256(content).hexdigest() != stub.manifest.sha256:
        raise _Gone(f"{stub.prefix}/{name} is not what was put there")
    for one in stub.objects:
        if one.name not in there:
            raise _Gone(f"{stub.prefix}/{one.name} is gone")
        if there[one.name] != one.size:
            raise _Gone(f"{stub.prefix}/{one.name} has {there[one.name]} bytes instead of {one.size}")
    content = place.read(f"{stub.prefix}/{names.INDEX}")
    if hashlib.sha256(content).hexdigest() != stub.object(names.INDEX).sha256:
        raise _Gone(f"{stub.prefix}/{names.INDEX} is not what was put there")
    return Index.decode(content)


def free_what_is_due(layout: Layout, batches: Batches, place: Place, keep: Keep) -> int:
    """Remove what may be removed; return how many archives were freed.

    Raises:
        DatastoreError: the last failure, after the others were tried.
    """
    count, failure = 0, None
    for archive in due(layout, batches, keep):
        try:
            free(layout, place, archive)
            count += 1
        except DatastoreError as error:
            log.error("archive %r stays on the volume: %s", archive.name, error)
            failure = error
    if failure is not None:
        raise failure
    return count


def verify(layout: Layout, place: Place, archive: Held, report: Report) -> None:
    """Read every object of a copy back and compare its SHA-256; `remote.json` says when, or why it is lost.

    Raises:
        RemoteFailed: the copy cannot be read, or differs.
    """
    stub = archive.stub
    if stub is None:
        raise RemoteFailed(f"{archive.name!r} has not been copied yet")
    try:
        verified(place, stub)
        for number, one in enumerate(stub.objects):
            report("verifying", number, len(stub.objects))
            digest = hashlib.sha256()
            for chunk in place.chunks(f"{stub.prefix}/{one.name}", one.size):
                digest.update(chunk)
            if digest.hexdigest() != one.sha256:
                raise _Gone(f"{stub.prefix}/{one.name} is not what was put there")
    except _Gone as gone:
        _note_lost(layout, archive, stub, gone)
        raise

    def note(now: Stub | None) -> Stub:
        now = now or stub
        lost = "" if now.lost == stub.lost else now.lost  # found since by another look at it
        return msgspec.structs.replace(now, verified=utc_now(), lost=lost)

    change_stub(layout, archive.folder, note)
    log.info("the copy of archive %r is verified", archive.name)
