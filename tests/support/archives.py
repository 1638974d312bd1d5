"""Archives and their copies, for tests: a store without servers that is archived to a folder, and what it reads."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import threading
from collections.abc import Collection
from fractions import Fraction
from pathlib import Path

from shared.archiver import freeing, restoring
from shared.archiver.held import Held, held
from shared.archiver.indexing import make_coverage
from shared.archiver.upload import Uploader
from shared.archives.manifest import Stub
from shared.archives.place import Place
from shared.catalog.tracks import one_track
from shared.config import Keep, StoreConfig, store_from_env
from shared.storage.batches import Batches
from shared.storage.reader import BatchReader
from shared.volume.layout import Layout
from tests.support.bench import Bench


def nothing(step: str, done: int, of: int) -> None:
    """A report that nobody reads."""


class Copied:
    """The archives of a volume and their copies at ARCHIVE_URL, as one archiver sees them."""

    def __init__(self, config: StoreConfig) -> None:
        self.config, self.layout = config, Layout(config)
        self.place = Place(config)
        self.batches = Batches(self.layout)

    def held(self, name: str = "") -> Held:
        """The archive of this name, or the only one."""
        found = [one for one in held(self.layout, self.batches) if name in ("", one.name)]
        assert len(found) == 1, found
        return found[0]

    def stub(self, name: str = "") -> Stub:
        """Its `remote.json`, which must be there."""
        stub = self.held(name).stub
        assert stub is not None
        return stub

    def copy(self, name: str = "") -> Stub:
        make_coverage(self.config, self.layout, self.held(name).name)
        return Uploader(self.config, self.layout, self.place, nothing).make_safe(self.held(name))

    def free(self, name: str = "") -> int:
        return freeing.free(self.layout, self.place, self.held(name))

    def free_due(self, keep: str) -> int:
        return freeing.free_what_is_due(self.layout, self.batches, self.place, Keep.parse(keep))

    def verify(self, name: str = "") -> None:
        freeing.verify(self.layout, self.place, self.held(name), nothing)

    def restore(self, name: str = "") -> int:
        return restoring.restore(self.layout, self.place, self.held(name), nothing)


def copied_bench(folder: Path, **env: str) -> Bench:
    """A store without servers whose archives are copied to the folder `remote`."""
    url = f"file://{folder}/remote"
    return Bench(folder / "store", ARCHIVE_URL=url, ARCHIVE_PIECE="3000", **env)


def segments(folder: str | Path) -> dict[str, bytes]:
    """The segments' files in an archive."""
    return {path.name: path.read_bytes() for path in Path(folder).iterdir() if path.name.startswith("gwb")}


def served(config: StoreConfig, left_out: Collection[str] = ()) -> dict[str, bytes]:
    """Every segment of the archives, as a fresh reader serves it: by name, as /segment does."""
    reader = BatchReader(config)
    return {name: reader.segment(name, one.name) for one in reader.batches.select("all").archived
            for name in reader.archived_page(one.name).names if name not in left_out}  # fmt: skip


def samples(bench_or_config: Bench | StoreConfig, start: float, end: float, channel: str = "V1:X") -> list[float]:
    """The samples of a channel by GPS time over all batches, as a fresh reader reads them."""
    from shared.catalog.catalog import Catalog

    config = bench_or_config.config if isinstance(bench_or_config, Bench) else bench_or_config
    with Catalog(BatchReader(config), Layout(config)).look("all") as batches:
        track = one_track(batches, channel, None, None)
        series = track.series(Fraction(start), Fraction(end), 1 << 40)
    values = [value for one in series for block in one.blocks() for value in block]
    for thread in threading.enumerate():
        if thread.name == "save-index":
            thread.join()
    return values


def check_copy(folder: Path) -> dict:
    """What the manifest of a batch's copy promises holds, read with nothing of ours; return the newest manifest."""
    newest = sorted(folder.glob("manifest-*.json"))[-1:] or [folder / "manifest.json"]
    manifest = json.loads(newest[0].read_text())
    for one in manifest["objects"]:
        content = (folder / one["name"]).read_bytes()
        assert (len(content), hashlib.sha256(content).hexdigest()) == (one["size"], one["sha256"]), one["name"]
    return manifest


def environment(config: StoreConfig) -> dict[str, str]:
    """The environment of a process of the same store."""
    return {"ROOT": os.path.dirname(config.volume_root), "ARCHIVE_URL": config.archive_url,
            "ARCHIVE_PIECE": str(config.archive_piece)}  # fmt: skip


def empty_store(config: StoreConfig, root: Path) -> StoreConfig:
    """The configuration of a store with the same copies, on a volume that is empty."""
    shutil.rmtree(root, ignore_errors=True)
    return store_from_env({**environment(config), "ROOT": str(root)})
