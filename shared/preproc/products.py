"""Products of a batch: the folder `products/` beside it, put in place in one step, listed and served from there."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
from collections import Counter
from collections.abc import Iterator

import msgspec

from shared.config.store import PRODUCTS
from shared.decoding import convert, json_decoder
from shared.domain.messages import LoudestPixel
from shared.domain.records import utc_now
from shared.errors import NoSuchRoute, NotFrozen
from shared.failpoints import failpoint
from shared.storage import frozen_batch
from shared.storage.archive_list import newest_archives
from shared.storage.frozen_batch import BatchStatus, FrozenBatch
from shared.volume.layout import Layout
from shared.volume.made_files import File, FileContent
from shared.volume.posix import (
    PosixFileSystem,
    file_lock,
    fsync_directory,
    open_beneath,
    storage_errors,
    sync_filesystem,
)

MANIFEST = "manifest.json"
PICTURE, THUMBNAIL = "spectrogram.png", "thumbnail.png"  # in the folder of each spectrogram
OVERVIEW, SUMMARY = "overview.png", "summary.html"  # where there are several


class Manifest(msgspec.Struct, kw_only=True):
    """`manifest.json`: the batch, the verdict, and how the products were made. Times are GPS seconds, [begin, end).

    Attributes:
        batch: the batch's number; with `n_itm` it identifies the content.
        verdict: "done", or why there is no spectrogram at all: "empty", "too short", "no signal", "failed".
        reason: why the job itself failed, after its last attempt; empty where it has looked at every channel.
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
    reason: str = ""

    @property
    def description(self) -> str:
        """The reason for a verdict other than "done", from the job or from the first piece of strain with one.

        If some have spectrograms, the number of pieces that have none, by their verdicts.
        """
        reports = [r for stream in self.streams for r in convert(stream, _Stream).spectrograms]
        if self.verdict != "done":
            return self.reason or next((report.reason for report in reports if report.reason), "")
        without = Counter(report.verdict for report in reports if report.verdict != "done")
        return ", ".join(f"{count} {verdict}" for verdict, count in sorted(without.items()))

    @property
    def pictures(self) -> int:
        """The number of spectrograms."""
        return sum(1 for file in self.files if file.name.endswith(f"/{PICTURE}"))


class Report(msgspec.Struct):
    """The part of a report on one piece of strain that lists show."""

    verdict: str = ""
    reason: str = ""
    folder: str = ""
    span: tuple[float, float] | None = None
    loudest: LoudestPixel | None = None


class _Stream(msgspec.Struct):
    detector: str = ""
    channel: str = ""
    spectrograms: list[Report] = []


def encode(manifest: Manifest) -> bytes:
    """The bytes of `manifest.json`, indented for readers."""
    return msgspec.json.format(msgspec.json.encode(manifest), indent=1) + b"\n"


def manifest(folder: str) -> Manifest | None:
    """The manifest of the products in a folder; None where there are none."""
    try:
        with open(open_beneath(folder, MANIFEST), "rb") as file:
            return json_decoder(Manifest).decode(file.read())
    except (OSError, msgspec.DecodeError):
        return None


def final_manifest(folder: str, number: int, n_itm: int) -> Manifest | None:
    """The manifest, if the products in a folder are those of batch `number` with `n_itm` segments.

    One that only says why the job failed does not count: whoever asks has the products made again.
    """
    found = manifest(folder)
    same = found is not None and (found.batch, found.n_itm, found.reason) == (number, n_itm, "")
    return found if same else None


# -- making ---------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def making(layout: Layout) -> Iterator[None]:
    """Hold the lock of preproc: on a volume one process at a time makes products.

    Raises:
        Busy: another process makes them.
        StorageFailed: there can be no lock.
    """
    with storage_errors("opening the lock of preproc"):
        fd = os.open(layout.products_lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC)
    try:
        with file_lock(fd, timeout=5.0):
            yield
    finally:
        os.close(fd)


def publish_failure(layout: Layout, failed: BatchStatus, reason: str) -> Manifest:
    """Put a manifest in place that says why the job failed, so that nobody waits for its products.

    Raises:
        NotFrozen: the batch was archived or opened again.
        DatastoreError: it could not be put in place.
    """
    with making(layout):
        frozen = frozen_batch.read(layout)
        if (frozen.state.batch, frozen.state.segments) != (failed.batch, failed.n_itm):
            raise NotFrozen("The batch was archived or has grown meanwhile.")
        said = Manifest(
            batch=failed.batch, n_itm=failed.n_itm, buff_size=frozen.state.bytes, verdict="failed", time=utc_now(),
            files=[], streams=[], unusable=[], parameters={}, versions={}, reason=reason,
        )  # fmt: skip
        folder = staging_folder(layout)
        with storage_errors("writing the manifest"):
            PosixFileSystem().pipe_file(os.path.join(folder, MANIFEST), encode(said))
        sync_filesystem(layout.root)
        _place(layout, frozen, folder)
    return said


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
    sync_filesystem(layout.root)
    failpoint("preproc.written")
    _place(layout, made_of, folder)
    failpoint("preproc.placed")


def publish_archived(layout: Layout, archive: str, folder: str) -> None:
    """Put the products in `folder` into an archive, durably and in one rename.

    No lock of the writer is needed: cleanall has moved a batch's products before its archive is listed.

    Raises:
        StorageFailed: the products are not in place; making them again may succeed.
    """
    sync_filesystem(layout.root)
    fs, place = PosixFileSystem(), os.path.join(layout.archive(archive), PRODUCTS)
    try:
        with storage_errors("putting the products into the archive"):
            if os.path.isdir(place):  # a manifest that says why the job failed
                fs.mv(place, layout.products_replaced)
            fs.mv(folder, place)
            fsync_directory(layout.archive(archive))
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        shutil.rmtree(layout.products_replaced, ignore_errors=True)


def _place(layout: Layout, made_of: FrozenBatch, folder: str) -> None:
    fs = PosixFileSystem()
    try:
        with frozen_batch.hold_unchanged(layout, made_of), storage_errors("putting the products in place"):
            if os.path.isdir(layout.products):  # of this batch, before it was opened again and grew
                fs.mv(layout.products, layout.products_replaced)
            fs.mv(folder, layout.products)
            fsync_directory(layout.root)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        shutil.rmtree(layout.products_replaced, ignore_errors=True)


# -- showing --------------------------------------------------------------------------------------------------


def archived(layout: Layout, name: str) -> str:
    """The folder of the products of an archive, which may not exist. Only names of archives reach the file system.

    Raises:
        NoSuchRoute: there is no archive of that name.
        StorageFailed: the archives cannot be listed.
    """
    if not any(name == found for found, _ in newest_archives(layout)):
        raise NoSuchRoute(f"there is no archive {name!r}; GET /archives lists them")
    return os.path.join(layout.archive(name), PRODUCTS)


def listing(folder: str, at: str = "/products/") -> dict[str, object]:
    """The document of GET /products; names sort by detector and time, the manifest comes last.

    Args:
        folder: `products/` of the open batch or of an archive.
        at: the URL below which its files are served.
    """
    found = manifest(folder)
    if found is None:
        return {"batch": None, "verdict": "none", "products": []}
    shown = dict(_pictured(found))
    items = [(file.name, file.size) for file in found.files] + [(MANIFEST, len(encode(found)))]
    names = {name for name, _ in items}
    products = []
    for name, size in items:
        folder, _, file_name = name.rpartition("/")
        product = {"name": name, "size": size, "url": f"{at}{name}", **shown.get(folder, {})}
        if file_name == PICTURE and f"{folder}/{THUMBNAIL}" in names:
            product["thumbnail"] = f"{at}{folder}/{THUMBNAIL}"
        products.append(product)
    return {"batch": found.batch, "verdict": found.verdict, "products": products}


def _pictured(made: Manifest) -> Iterator[tuple[str, dict[str, object]]]:
    """For each spectrogram's folder: channel, span and loudest pixel."""
    for stream in convert(made.streams, list[_Stream]):
        for report in stream.spectrograms:
            if report.folder:
                about = {"detector": stream.detector, "channel": stream.channel, "span": report.span}
                yield report.folder, {**about, "loudest": report.loudest}


def read(folder: str, name: str) -> FileContent:
    """A product; only names in the manifest reach the file system.

    Raises:
        NoSuchRoute: there is no product of that name.
    """
    found = manifest(folder)
    checksums = {file.name: file.sha256 for file in found.files} if found else {}
    if found is None or name not in {MANIFEST, *checksums}:
        raise NoSuchRoute(f"there is no product {name!r}")
    try:
        file = open(open_beneath(folder, name), "rb")
    except OSError:  # archived at this moment
        raise NoSuchRoute(f"there is no product {name!r} any more") from None
    checksum = hashlib.sha256(encode(found)).hexdigest() if name == MANIFEST else checksums[name]
    return FileContent(name, checksum, file)
