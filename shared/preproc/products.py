"""Products of a batch: the folder `products/` beside it, put in place in one step, listed and served from there."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Iterator
from typing import BinaryIO, NamedTuple

import msgspec

from shared.domain.state import FROZEN
from shared.errors import NoSuchRoute
from shared.failpoints import failpoint
from shared.storage import frozen_batch
from shared.storage.frozen_batch import FrozenBatch
from shared.volume import counters
from shared.volume.layout import Layout
from shared.volume.posix import PosixFileSystem, fsync_directory, open_beneath, storage_errors, sync_filesystem
from shared.volume.views import Views

MANIFEST = "manifest.json"
TYPES = {".json": "application/json", ".png": "image/png", ".hdf5": "application/x-hdf5"}
_CHUNK = 1 << 18


class File(msgspec.Struct):
    """A product: its name relative to `products/`, its size in bytes and its content's SHA-256 in hex."""

    name: str
    size: int
    sha256: str


class Manifest(msgspec.Struct, kw_only=True):
    """`manifest.json`: the batch, the verdict, and how the products were made. Times are GPS seconds, [begin, end).

    Attributes:
        batch: the batch's number; with `n_itm` it identifies the content.
        verdict: "done", or why there is no spectrogram at all: "empty", "too short", "failed".
        streams: for each detector, channel and rate: its spans, gaps, dropped overlaps, and products.
        unusable: files without usable times.
        parameters: those common to all spectrograms.
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
    """The open batch as published: exact enough to decide whether there is work to do."""

    batch: int
    n_itm: int
    frozen: bool


def batch_status(layout: Layout) -> BatchStatus:
    """The status of the open batch, from counters and views.

    Raises:
        Recovering, StorageFailed: nothing is published.
    """
    counted = counters.read(layout.counters)
    return BatchStatus(counted.batch, counted.segments, Views(layout).dstat()["dstatus"] == FROZEN)


def manifest(layout: Layout) -> Manifest | None:
    """The manifest of the products in place; None where there are none."""
    try:
        with open(open_beneath(layout.products, MANIFEST), "rb") as file:
            return msgspec.json.decode(file.read(), type=Manifest)
    except (OSError, msgspec.DecodeError):
        return None


def manifest_for(layout: Layout, number: int, n_itm: int) -> Manifest | None:
    """The manifest, if the products in place are those of batch `number` with `n_itm` segments."""
    found = manifest(layout)
    return found if found is not None and (found.batch, found.n_itm) == (number, n_itm) else None


# -- making ---------------------------------------------------------------------------------------------------


def staging_folder(layout: Layout) -> str:
    """An empty folder to make products in: hidden, beside their later place, cleared of a crash's remains."""
    folder = layout.products_staging
    with storage_errors("preparing the folder for products"):
        for leftover in (folder, layout.products_replaced):
            shutil.rmtree(leftover, ignore_errors=True)
        PosixFileSystem().makedirs(folder)
    return folder


def publish(layout: Layout, made_of: FrozenBatch, folder: str) -> None:
    """Make the products in `folder` durable, then visible in one rename, unless the batch is not the same any more.

    The check and the rename happen under the writer's lock. So the products end up beside their batch, or nowhere if
    it was archived meanwhile.

    Raises:
        NotFrozen: the batch was archived or opened again; the products are dropped.
        Busy, StorageFailed: the products are not in place; making them again may succeed.
    """
    fs = PosixFileSystem()
    sync_filesystem(layout.root)
    failpoint("preproc.written")
    try:
        with frozen_batch.hold_unchanged(layout, made_of), storage_errors("putting the products in place"):
            if os.path.isdir(layout.products):  # of this batch, before it was opened again and grew
                fs.mv(layout.products, layout.products_replaced)
            fs.mv(folder, layout.products)
            fsync_directory(layout.root)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        shutil.rmtree(layout.products_replaced, ignore_errors=True)
    failpoint("preproc.placed")


# -- showing --------------------------------------------------------------------------------------------------


def listing(layout: Layout) -> dict[str, object]:
    """The document of GET /products; names sort by detector and time, the manifest comes last."""
    found = manifest(layout)
    if found is None:
        return {"batch": None, "verdict": "none", "products": []}
    items = [(file.name, file.size) for file in found.files] + [(MANIFEST, len(encode(found)))]
    products = [{"name": name, "size": size, "url": f"/products/{name}"} for name, size in items]
    return {"batch": found.batch, "verdict": found.verdict, "products": products}


class ProductContent:
    """An open product.

    Attributes:
        media: media type.
        size: in bytes.
        sha256: names the content.
    """

    def __init__(self, media: str, sha256: str, file: BinaryIO) -> None:
        self.media, self.sha256, self._file = media, sha256, file
        self.size = os.fstat(file.fileno()).st_size

    def read(self, start: int = 0, stop: int | None = None) -> Iterator[bytes]:
        """The bytes from `start` to before `stop`; the file is closed behind them."""
        with self._file as file:
            left = (self.size if stop is None else stop) - start
            file.seek(start)
            while left > 0 and (chunk := file.read(min(_CHUNK, left))):
                left -= len(chunk)
                yield chunk


def read(layout: Layout, name: str) -> ProductContent:
    """A product; only names in the manifest reach the file system.

    Raises:
        NoSuchRoute: there is no product of that name.
    """
    found = manifest(layout)
    checksums = {file.name: file.sha256 for file in found.files} if found else {}
    if found is None or name not in {MANIFEST, *checksums}:
        raise NoSuchRoute(f"there is no product {name!r}")
    try:
        file = open(open_beneath(layout.products, name), "rb")
    except OSError:  # archived at this moment
        raise NoSuchRoute(f"there is no product {name!r} any more") from None
    checksum = hashlib.sha256(encode(found)).hexdigest() if name == MANIFEST else checksums[name]
    return ProductContent(TYPES.get(os.path.splitext(name)[1], "application/octet-stream"), checksum, file)
