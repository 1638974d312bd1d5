"""A store on an empty volume, from the copies of its archives: `python -m shared.archiver.rebuild`, `make restore`.

It reads ARCHIVE_URL and writes the folders that the environment describes. It may be interrupted and run again. The
newest batch's journal is put in place as a cleanall leaves it before its last step, so that the writer's next start
opens the batch after it, with its number, keys and decisions.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import sys
import tarfile

from shared.archiver.freeing import verified
from shared.archiver.held import require_free, staging_folder
from shared.archiver.restoring import fetch_segments
from shared.archiver.upload import newest_manifest
from shared.archives import manifest as names
from shared.archives.manifest import Manifest, Object, Stub
from shared.archives.place import Place
from shared.config import ConfigError, StoreConfig, store_from_env
from shared.config.store import DATASETS, PRODUCTS
from shared.domain.records import CLEAN, utc_now
from shared.errors import DatastoreError, RemoteFailed, StorageFailed
from shared.storage import journal
from shared.storage.batches import Batches
from shared.volume.layout import Layout, create_folders
from shared.volume.posix import PosixFileSystem, fsync_directory, storage_errors, sync_filesystem
from shared.volume.whole_files import atomic_replace


class Rebuilder:
    """Brings archives back.

    Args:
        config: of the store.
        segments: whether the segments come back too, or stay where they are and are read from there.
    """

    def __init__(self, config: StoreConfig, *, segments: bool) -> None:
        self._layout = Layout(config)
        self._place = Place(config)
        self._segments = segments

    def run(self) -> int:
        """Bring back every archive whose copy is whole; return how many there are.

        Raises:
            StorageFailed: there is a store already, or the volume refuses.
            RemoteFailed: a copy cannot be read, or is not what was put there.
        """
        layout = self._layout
        if os.path.exists(layout.journal):
            raise StorageFailed(f"{layout.journal} exists: a store is rebuilt on an empty volume")
        create_folders(layout)
        newest: Manifest | None = None
        count = 0
        for prefix in filter(names.is_prefix, self._place.folders()):
            found = newest_manifest(self._place, prefix)
            if found is None:
                print(f"{prefix}: no whole copy, left out")
                continue
            self._archive(prefix, found)
            count += 1
            if newest is None or found.batch > newest.batch:
                newest = found
        if newest is not None:
            self._journal(newest)
        return count

    def _archive(self, prefix: str, found: Manifest) -> None:
        layout, target = self._layout, self._layout.archive(found.name)
        taken = (PRODUCTS, DATASETS, os.path.basename(layout.data))
        if os.path.basename(found.name) != found.name or found.name.startswith(".") or found.name in taken:
            raise RemoteFailed(f"{prefix} is of an archive {found.name!r}, which is no name of one")
        if os.path.isdir(target):
            there = [one for one in Batches(layout).archived() if one.name == found.name]
            if there and names.prefix_of(there[0].batch, there[0].opened) == prefix:
                print(f"{found.name}: there already")
                return
            raise StorageFailed(f"{target} exists, and is another batch than {prefix}: bring the two back apart")
        stub = Stub(
            prefix=prefix, generation=found.generation, manifest=names.object_of(found),
            objects=found.objects, beside="", missing=found.missing, verified=utc_now(),
            freeing=not self._segments, freed="" if self._segments else utc_now(),
        )  # fmt: skip
        index = verified(self._place, stub)
        staging = staging_folder(layout, prefix)
        if self._segments:
            require_free(layout, found.bytes)
            fetch_segments(self._place, stub, index.rows(), staging, lambda step, done, of: None)
        for one in found.objects:
            if one.name == names.JOURNAL:
                self._file(prefix, one, os.path.join(staging, layout.journal_name))
            elif names.is_beside(one.name):
                self._beside(prefix, one, staging)
            elif one.name == names.COUNTS:
                path = os.path.join(staging, layout.stat_name)
                self._file(prefix, one, path)
                os.utime(path, ns=(found.closed, found.closed))
        with storage_errors(f"putting {found.name!r} in place"):
            names.write_stub(staging, stub)
            sync_filesystem(layout.root)
            os.rename(staging, target)
            fsync_directory(layout.root)
        print(f"{found.name}: batch {found.batch}, {found.segments} segments{'' if self._segments else ', elsewhere'}")

    def _file(self, prefix: str, one: Object, path: str) -> None:
        with storage_errors(path), open(path, "wb") as file:
            digest = hashlib.sha256()
            for chunk in self._place.chunks(f"{prefix}/{one.name}", one.size):
                digest.update(chunk)
                file.write(chunk)
        if digest.hexdigest() != one.sha256:
            raise RemoteFailed(f"{prefix}/{one.name} is not what was put there")

    def _beside(self, prefix: str, one: Object, staging: str) -> None:
        path = os.path.join(staging, one.name)
        self._file(prefix, one, path)
        with storage_errors("unpacking what lies beside the segments"):
            with tarfile.open(path) as packed:
                packed.extractall(staging, filter="data")
            os.unlink(path)

    def _journal(self, newest: Manifest) -> None:
        """Put the newest batch's journal in place, and the names of its missing segments, which go into its counts."""
        layout, folder = self._layout, self._layout.archive(newest.name)
        content = PosixFileSystem().cat_file(os.path.join(folder, layout.journal_name))
        last = journal.decode(content[:-1].rpartition(b"\n")[2])
        if last is None or last.kind != CLEAN or last.archive != newest.name:
            raise StorageFailed(f"the journal of {newest.name!r} does not end with its cleanall")
        missing = os.path.join(folder, os.path.basename(layout.missing))
        with storage_errors("putting the journal in place"):
            if os.path.exists(missing):
                atomic_replace(layout.missing, PosixFileSystem().cat_file(missing))
            atomic_replace(layout.journal, content)


def main() -> int:
    """Rebuild the store; the exit code is 0 when all copies that are whole are back."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("--stubs", action="store_true", help="leave the segments where they are, and read them there")
    arguments = parser.parse_args()
    try:
        config = store_from_env()
        if not config.archive_url:
            raise ConfigError("ARCHIVE_URL is not set: make restore URL=… ROOT=…")
        count = Rebuilder(config, segments=not arguments.stubs).run()
    except (ConfigError, DatastoreError) as error:
        print(f"cannot restore: {error}", file=sys.stderr)
        return 1
    print(f"{count} archives are back; start the store now")
    return 0


if __name__ == "__main__":
    sys.exit(main())
