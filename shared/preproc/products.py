"""What was made of a batch: the folder `products/` beside it, put there in one step, listed and served from there."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from typing import NamedTuple

import msgspec

from shared.config import StoreConfig
from shared.domain.state import FROZEN
from shared.errors import NoSuchRoute
from shared.failpoints import failpoint
from shared.storage import frozen_batch
from shared.storage.frozen_batch import FrozenBatch
from shared.volume import counters
from shared.volume.layout import Layout, Volume
from shared.volume.posix import PosixFileSystem, fsync_directory, open_beneath, storage_errors, sync_filesystem

MANIFEST = "manifest.json"
TYPES = {".json": "application/json", ".png": "image/png", ".hdf5": "application/x-hdf5"}
_CHUNK = 1 << 18


class File(msgspec.Struct):
    """A product: its name relative to `products/`, its size in bytes and its content's SHA-256 in hex."""

    name: str
    size: int
    sha256: str


class Manifest(msgspec.Struct, kw_only=True):
    """`manifest.json`: of which batch, what became of it, and how. Times are GPS seconds, [begin, end).

    Attributes:
        batch: the batch's number; with `n_itm` it says of which content these are the products.
        verdict: "done", or why there is no spectrogram at all: "empty", "too short", "failed".
        streams: for each detector, channel and rate: its spans, gaps, dropped overlaps, and what was made of it.
        unusable: files whose times make no sense.
        parameters: those that all the spectrograms have in common.
    """

    batch: int
    n_itm: int
    buff_size: int
    verdict: str
    time: str
    files: list[File]
    streams: list[dict[str, object]]
    unusable: list[str]
    parameters: dict[str, object]
    versions: dict[str, str]


def encode(manifest: Manifest) -> bytes:
    """The bytes of `manifest.json`, indented for readers."""
    return msgspec.json.format(msgspec.json.encode(manifest), indent=1) + b"\n"


class BatchStatus(NamedTuple):
    """Which batch is open, as published; exact enough to decide whether there is work to do."""

    batch: int
    n_itm: int
    frozen: bool


def batch_status(config: StoreConfig) -> BatchStatus:
    """Look at the tally and the published state.

    Raises:
        Recovering, StorageFailed: nothing is published.
    """
    counted = counters.read(Layout(config).counters)
    return BatchStatus(
        counted.batch, counted.segments, Volume(config).read_view(Layout(config).dstat_view)["dstatus"] == FROZEN
    )


def manifest(config: StoreConfig) -> Manifest | None:
    """The manifest of the products in place; None where there are none."""
    try:
        with open(open_beneath(Layout(config).products, MANIFEST), "rb") as file:
            return msgspec.json.decode(file.read(), type=Manifest)
    except (OSError, msgspec.DecodeError):
        return None


def manifest_for(config: StoreConfig, number: int, n_itm: int) -> Manifest | None:
    """The manifest, if the products in place are those of batch `number` with `n_itm` segments."""
    found = manifest(config)
    return found if found is not None and (found.batch, found.n_itm) == (number, n_itm) else None


# -- making ---------------------------------------------------------------------------------------------------


def staging_folder(config: StoreConfig) -> str:
    """An empty folder to make products in: hidden, beside their later place, cleared of what a crash left."""
    folder = os.path.join(config.volume_root, ".products.next")
    with storage_errors("preparing to make products"):
        for leftover in (folder, _replaced(config)):
            shutil.rmtree(leftover, ignore_errors=True)
        PosixFileSystem().makedirs(folder)
    return folder


def publish(config: StoreConfig, made_of: FrozenBatch, folder: str) -> None:
    """Make the products in `folder` durable, then visible in one rename, unless the batch is not the same any more.

    The check and the rename happen under the writer's lock, so they end up beside their batch or, if it was filed
    away meanwhile, nowhere.

    Raises:
        NotFrozen: the batch was filed away or opened again; the products are dropped.
        Busy, StorageFailed: the products are not in place; making them again may succeed.
    """
    fs = PosixFileSystem()
    sync_filesystem(config.volume_root)
    failpoint("preproc.written")
    try:
        with frozen_batch.hold_unchanged(config, made_of), storage_errors("putting the products in place"):
            if os.path.isdir(Layout(config).products):  # of this batch before it was opened and grew
                fs.mv(Layout(config).products, _replaced(config))
            fs.mv(folder, Layout(config).products)
            fsync_directory(config.volume_root)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        shutil.rmtree(_replaced(config), ignore_errors=True)
    failpoint("preproc.placed")


def _replaced(config: StoreConfig) -> str:
    return os.path.join(config.volume_root, ".products.old")


# -- showing --------------------------------------------------------------------------------------------------


def listing(config: StoreConfig) -> dict[str, object]:
    """What GET /products says; names sort by detector and time, the manifest comes last."""
    found = manifest(config)
    if found is None:
        return {"batch": None, "verdict": "none", "products": []}
    items = [(file.name, file.size) for file in found.files] + [(MANIFEST, len(encode(found)))]
    products = [{"name": name, "size": size, "url": f"/products/{name}"} for name, size in items]
    return {"batch": found.batch, "verdict": found.verdict, "products": products}


def read(config: StoreConfig, name: str) -> tuple[str, Iterator[bytes]]:
    """Media type and content of a product; only names that the manifest lists ever reach the file system.

    Raises:
        NoSuchRoute: there is no product of that name.
    """
    found = manifest(config)
    if found is None or name not in {MANIFEST, *(file.name for file in found.files)}:
        raise NoSuchRoute(f"there is no product {name!r}")
    try:
        file = open(open_beneath(Layout(config).products, name), "rb")
    except OSError:  # filed away at this moment
        raise NoSuchRoute(f"there is no product {name!r} any more") from None

    def chunks() -> Iterator[bytes]:
        with file:
            while chunk := file.read(_CHUNK):
                yield chunk

    return TYPES.get(os.path.splitext(name)[1], "application/octet-stream"), chunks()
