"""Making an archive safe: its objects put, read back and compared, then its manifest, then `remote.json`."""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import msgspec

from shared.archiver import packing
from shared.archiver.held import FREE_LOCK, Held, change_stub, lock, work_file
from shared.archiver.packing import Damaged, Piece
from shared.archiver.requests import Report
from shared.archives import manifest as names
from shared.archives.index import Index
from shared.archives.manifest import Manifest, Object, Stub
from shared.archives.place import Place
from shared.config import StoreConfig
from shared.decoding import json_decoder
from shared.domain.records import Record, utc_now
from shared.errors import RemoteFailed
from shared.failpoints import failpoint
from shared.volume.layout import Layout
from shared.volume.posix import storage_errors
from shared.volume.whole_files import atomic_replace

log = logging.getLogger(__name__)

_IN_FLIGHT = 2  # pieces; each takes twice its size of memory


class Notes(msgspec.Struct):
    """What has been put and verified of an archive so far: on the volume, so that a restart goes on behind it.

    Attributes:
        journal: SHA-256 of the journal that it belongs to.
        piece_size: as it was when the pieces were planned.
        left_out: names of segments that are gone or damaged.
        done: objects that were read back and compared.
    """

    journal: str
    piece_size: int
    left_out: list[str] = []
    done: list[Object] = []


class Uploader:
    """Makes archives safe.

    Args:
        config: of the store.
        layout: its paths.
        place: where the copies go.
        report: is told of the progress.
    """

    def __init__(self, config: StoreConfig, layout: Layout, place: Place, report: Report) -> None:
        self._config, self._layout, self._place, self._report = config, layout, place, report

    def make_safe(self, held: Held) -> Stub:
        """Copy an archive, or what has changed beside its segments; nothing is copied twice.

        Raises:
            RemoteFailed: the place refuses, or does not hold what was put there.
            JournalDamaged, StorageFailed: the archive cannot be read.
        """
        journal = _sha256(packing.content_of_file(self._layout.archived_journal(held.name)))
        before = self._newest(held, journal)
        notes_path = work_file(self._layout, f"{held.prefix}.json")
        notes = _read_notes(notes_path)
        if notes is None or notes.journal != journal:
            notes = Notes(journal, self._config.archive_piece)
        generation = self._next_generation(held.prefix)  # if another archiver is as far meanwhile, it cannot be created
        core = self._core_there(held, before, notes)
        if core is None:
            # Nothing of a copy that is put anew may be removed meanwhile.
            with lock(self._layout, FREE_LOCK) if held.stub is not None else contextlib.nullcontext():
                if held.stub is not None or before is not None:
                    notes.left_out = self._require_segments(held, before)
                core = self._core(held, notes, notes_path)
                return self._note(held, self._publish(held, core, generation, before))
        assert before is not None
        if self._holds_beside(before, held):
            return self._note(held, before)
        return self._note(held, self._publish(held, core, generation, before))

    def _next_generation(self, prefix: str) -> int:
        found = map(names.generation_of, self._place.sizes(prefix))
        return 1 + max((generation for generation in found if generation is not None), default=-1)

    def _holds_beside(self, before: Manifest, held: Held) -> bool:
        """Whether a manifest has what lies beside the segments now."""
        theirs = next((one for one in before.objects if names.is_beside(one.name)), None)
        if theirs is None or not held.beside.names:
            return theirs is None and not held.beside.names
        content = packing.content_beside(held.folder, held.beside.names)
        return _sha256(content) == theirs.sha256

    # -- the batch itself -----------------------------------------------------------------------------------------

    def _core_there(self, held: Held, before: Manifest | None, notes: Notes) -> _Core | None:
        """What the newest manifest has of the batch itself, where it is in order; None where it must be put anew.

        Nothing that a manifest lists is put anew while it is in order: the segments may be nowhere else.
        """
        if before is None:
            return None
        objects = [one for one in before.objects if not names.is_beside(one.name)]
        stub, known = held.stub, notes.done
        if stub is not None:  # it was verified when that was written, unless it is lost since
            known = objects if stub.manifest == names.object_of(before) and not stub.lost else []
        in_order = all(one in known or _same(self._place, f"{held.prefix}/{one.name}", one) for one in objects)
        return _Core(objects, before.missing) if in_order else None

    def _require_segments(self, held: Held, before: Manifest | None) -> list[str]:
        """Check that the volume has all that was copied, before any of the copy is put anew; return what it has not.

        Raises:
            RemoteFailed: some of it is gone.
        """
        missing = held.stub.missing if held.stub is not None else before.missing if before is not None else []
        found = packing.damaged(held.folder, self._records(held))
        if not set(found) <= set(missing):
            raise RemoteFailed(
                f"the copy of {held.name!r} below {held.prefix} is gone or differs, and the volume does not hold "
                "all of its segments: bring the copy back from a backup"
            )
        return found

    def _core(self, held: Held, notes: Notes, path: str) -> _Core:
        """Segments, index, journal and counts, put and verified as far as they are not yet."""
        there = self._place.sizes(held.prefix)
        notes.done = [one for one in notes.done if there.get(one.name) == one.size]
        while True:
            index, pieces = packing.plan(self._records(held), set(notes.left_out), notes.piece_size)
            try:
                self._put_pieces(held, index, pieces, notes, path)
                break
            except Damaged as error:
                self._require_sole(held)
                log.error("%s: %s; it is not copied, and stays where it is", held.name, error)
                notes.left_out = packing.damaged(held.folder, self._records(held))
                wanted, _ = packing.plan(self._records(held), set(notes.left_out), notes.piece_size)
                notes.done = [one for one in notes.done if _unchanged(one.name, index, wanted)]
                _write_notes(path, notes)
        kept = {one.name: one for one in notes.done}
        objects = [kept[names.piece_name(piece.number)] for piece in pieces]
        objects.append(self._put(held, names.INDEX, lambda: iter([index.encode()])))
        objects.append(
            self._put(held, names.JOURNAL, lambda: packing.content_of_file(self._layout.archived_journal(held.name)))
        )
        counts = os.path.join(held.folder, self._layout.stat_name)
        objects.append(self._put(held, names.COUNTS, lambda: packing.content_of_file(counts)))
        return _Core(objects, notes.left_out)

    def _require_sole(self, held: Held) -> None:
        """Check that no other archiver has copied the archive meanwhile, and removed what is gone now.

        Raises:
            RemoteFailed: one has. The lock that keeps it away does not work on this volume.
        """
        if names.read_stub(held.folder) != held.stub or newest_manifest(self._place, held.prefix) is not None:
            raise RemoteFailed(f"{held.name!r} has been copied by another archiver meanwhile")

    def _records(self, held: Held) -> Iterator[Record]:
        return packing.records_of(self._layout.archived_journal(held.name))

    def _put_pieces(self, held: Held, index: Index, pieces: list[Piece], notes: Notes, path: str) -> None:
        """Put the pieces and read them back; one is packed while another one is on its way."""
        done = {one.name for one in notes.done}
        pool = ThreadPoolExecutor(_IN_FLIGHT)
        under_way: deque[Future[Object]] = deque()

        def note(left: int) -> None:
            while len(under_way) > left:
                notes.done.append(under_way.popleft().result())
                failpoint("archive.checked")
                _write_notes(path, notes)

        try:
            for piece in pieces:
                self._report("copying", len(notes.done), len(pieces))
                if names.piece_name(piece.number) not in done:
                    under_way.append(pool.submit(self._put_piece, held, index, piece))
                    note(_IN_FLIGHT)
            note(0)
        finally:
            pool.shutdown(cancel_futures=True)

    def _put_piece(self, held: Held, index: Index, piece: Piece) -> Object:
        name = names.piece_name(piece.number)
        put = self._place.put(f"{held.prefix}/{name}", packing.content_of(held.folder, index, piece))
        failpoint("archive.piece")
        return self._checked(held.prefix, Object(name, *put))

    # -- the rest -------------------------------------------------------------------------------------------------

    def _publish(self, held: Held, core: _Core, generation: int, before: Manifest | None) -> Manifest:
        """Put what lies beside the segments, then the manifest of all objects."""
        objects = list(core.objects)
        if held.beside.names:
            name = names.beside_name(generation)
            objects.append(self._put(held, name, lambda: packing.content_beside(held.folder, held.beside.names)))
        failpoint("archive.objects")
        self._require(held.prefix, objects)
        stat = _whole(packing.content_of_file(os.path.join(held.folder, self._layout.stat_name)))
        counts = json_decoder(dict[str, Any]).decode(stat)
        made = Manifest(
            name=held.name,
            batch=held.archived.batch,
            opened=held.archived.opened,
            segments=int(counts["n_itm"]) - len(core.missing),
            bytes=int(counts["buff_size"]),
            missing=core.missing,
            closed=held.closed if before is None else before.closed,
            generation=generation,
            objects=objects,
        )
        self._place.sync(held.prefix)
        self._place.create(f"{held.prefix}/{names.manifest_name(generation)}", names.encode(made))
        self._place.sync(held.prefix)
        failpoint("archive.manifest")
        return made

    def _note(self, held: Held, made: Manifest) -> Stub:
        """Read the manifest back, compare it, and note in the archive's folder that it is safe."""
        content, path = names.encode(made), f"{held.prefix}/{names.manifest_name(made.generation)}"
        self._require(held.prefix, made.objects)
        if self._place.read(path) != content:
            raise RemoteFailed(f"{path} is not what was put there")

        def note(before: Stub | None) -> Stub:
            return Stub(
                prefix=held.prefix, generation=made.generation, manifest=names.object_of(made),
                objects=made.objects, beside=held.beside.identity, missing=made.missing, verified=utc_now(),
                freeing=bool(before and before.freeing), freed=before.freed if before else "",
                restored=before.restored if before else 0.0,
            )  # fmt: skip

        stub = change_stub(self._layout, held.folder, note)
        failpoint("archive.safe")
        self._place.remove_leftovers(held.prefix)
        with storage_errors("removing the notes"), contextlib.suppress(FileNotFoundError):
            os.unlink(work_file(self._layout, f"{held.prefix}.json"))
        return stub

    def _newest(self, held: Held, journal: str) -> Manifest | None:
        """The newest manifest of this batch.

        Raises:
            RemoteFailed: another batch's lies there.
        """
        found = newest_manifest(self._place, held.prefix)
        if found is None:
            return None
        theirs = next((one.sha256 for one in found.objects if one.name == names.JOURNAL), "")
        if theirs != journal:
            raise RemoteFailed(
                f"{held.prefix} holds the copy of another batch, {found.name!r}: "
                "give each store an ARCHIVE_URL of its own"
            )
        return found

    def _put(self, held: Held, name: str, content: Callable[[], Iterable[bytes]]) -> Object:
        """Put an object and read it back; one that is there with the same bytes is not put again."""
        path = f"{held.prefix}/{name}"
        size, digest = 0, hashlib.sha256()
        for chunk in content():
            size += len(chunk)
            digest.update(chunk)
        wanted = Object(name, size, digest.hexdigest())
        if self._place.sizes(held.prefix).get(name) != size or not _same(self._place, path, wanted):
            self._place.put(path, content())
            self._checked(held.prefix, wanted)
        return wanted

    def _checked(self, prefix: str, wanted: Object) -> Object:
        if not _same(self._place, f"{prefix}/{wanted.name}", wanted):
            raise RemoteFailed(f"{prefix}/{wanted.name} is not what was put there")
        return wanted

    def _require(self, prefix: str, objects: list[Object]) -> None:
        there = self._place.sizes(prefix)
        for one in objects:
            if there.get(one.name) != one.size:
                raise RemoteFailed(f"{prefix}/{one.name} has {there.get(one.name)} bytes instead of {one.size}")


class _Core(msgspec.Struct):
    objects: list[Object]
    missing: list[str]


def newest_manifest(place: Place, prefix: str) -> Manifest | None:
    """The newest manifest of a batch whose objects are all there; None where the archive does not exist.

    Raises:
        RemoteFailed: the place cannot be read.
    """
    there = place.sizes(prefix)
    generations = sorted((g for name in there if (g := names.generation_of(name)) is not None), reverse=True)
    for generation in generations:
        found = names.decode(place.read(f"{prefix}/{names.manifest_name(generation)}"))
        if found is not None and all(there.get(one.name) == one.size for one in found.objects):
            return found
    return None


def _same(place: Place, path: str, wanted: Object) -> bool:
    return _sha256(place.chunks(path, wanted.size)) == wanted.sha256


def _sha256(chunks: Iterable[bytes]) -> str:
    digest = hashlib.sha256()
    for chunk in chunks:
        digest.update(chunk)
    return digest.hexdigest()


def _whole(chunks: Iterable[bytes]) -> bytes:
    return b"".join(chunks)


def _unchanged(name: str, before: Index, after: Index) -> bool:
    """Whether a piece holds the same segments at the same places in two plans."""
    if not names.is_piece(name):
        return False
    number = int(name.removeprefix("segments-").removesuffix(".tar"))
    return [row for row in before.rows() if row.piece == number] == [row for row in after.rows() if row.piece == number]


def _read_notes(path: str) -> Notes | None:
    try:
        with open(path, "rb") as file:
            return json_decoder(Notes).decode(file.read())
    except (OSError, msgspec.DecodeError):
        return None


def _write_notes(path: str, notes: Notes) -> None:
    """Note what was copied. On a full volume a restart begins anew instead: copies are what makes room."""
    try:
        atomic_replace(path, msgspec.json.encode(notes))
    except OSError as error:
        log.warning("what was copied is not noted: %s", error)
