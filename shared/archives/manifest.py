"""What lies at ARCHIVE_URL for a batch, and what its folder on the volume says of it: manifests and `remote.json`."""

from __future__ import annotations

import hashlib
import os
import re

import msgspec

from shared.decoding import json_decoder
from shared.volume.posix import open_plain
from shared.volume.whole_files import atomic_replace

STUB = "remote.json"  # in an archive's folder
INDEX, JOURNAL, COUNTS = "index", "journal", "StatDesc.json"
_PREFIX = re.compile(r"[0-9]{8,}-[0-9a-f]{8}")
_MANIFEST = re.compile(r"manifest(?:-([0-9]{5}))?\.json")


class Object(msgspec.Struct, frozen=True):
    """An object: its name below the batch's prefix, its size in bytes, its content's SHA-256 in hex."""

    name: str
    size: int
    sha256: str


class Manifest(msgspec.Struct, kw_only=True):
    """A manifest. It holds no time of its making, so that two archivers write the same bytes.

    Attributes:
        name: of the archive's folder on the volume.
        batch, opened: number of the batch, identity of its journal.
        segments, bytes: in the pieces.
        missing: names of the segments that were gone or damaged, and are not in the pieces.
        closed: time of the archive's counts on the volume, ns since 1970: archives are listed by it.
        generation: 0, and one more each time that what lies beside the segments has changed.
        objects: all but manifests.
    """

    format: int = 1
    name: str
    batch: int
    opened: int
    segments: int
    bytes: int
    missing: list[str]
    closed: int
    generation: int
    objects: list[Object]


class Stub(msgspec.Struct, kw_only=True):
    """`remote.json`: says that the archive is safe elsewhere, and whether its segments are still here.

    Attributes:
        prefix: of the batch below ARCHIVE_URL.
        generation: of the newest manifest.
        manifest: that manifest as an object.
        objects: its objects.
        beside: identifies the files beside the segments that are in it.
        missing: names of the segments that are not in it.
        verified: when it was read back, UTC, ISO 8601.
        freeing: the segments on the volume are being removed, or are gone.
        freed: when they were gone, UTC; empty before.
        restored: when they were brought back, seconds since 1970; 0 where they never were.
        lost: why the copy can no longer be relied on; empty where it can.
    """

    prefix: str
    generation: int
    manifest: Object
    objects: list[Object]
    beside: str
    missing: list[str] = []
    verified: str = ""
    freeing: bool = False
    freed: str = ""
    restored: float = 0.0
    lost: str = ""

    def object(self, name: str) -> Object:
        """The object of this name.

        Raises:
            KeyError: there is none.
        """
        for one in self.objects:
            if one.name == name:
                return one
        raise KeyError(name)


def prefix_of(batch: int, opened: int) -> str:
    """The prefix of a batch: its number, and the identity of its journal."""
    return f"{batch:08d}-{opened:08x}"


def is_prefix(text: str) -> bool:
    """Whether this is the prefix of a batch."""
    return _PREFIX.fullmatch(text) is not None


def piece_name(number: int) -> str:
    """Name of a tar file of segments."""
    return f"segments-{number:05d}.tar"


def is_piece(name: str) -> bool:
    """Whether an object is a tar file of segments."""
    return name.startswith("segments-")


def beside_name(generation: int) -> str:
    """Name of the tar file of what lies beside the segments."""
    return f"beside-{generation:05d}.tar"


def is_beside(name: str) -> bool:
    """Whether an object is a tar file of what lies beside the segments."""
    return name.startswith("beside-")


def manifest_name(generation: int) -> str:
    """Name of a manifest."""
    return f"manifest-{generation:05d}.json" if generation else "manifest.json"


def generation_of(name: str) -> int | None:
    """The generation of a manifest by its name; None if it is no manifest's."""
    found = _MANIFEST.fullmatch(name)
    return None if found is None else int(found[1] or 0)


def object_of(manifest: Manifest) -> Object:
    """A manifest as an object."""
    content = encode(manifest)
    return Object(manifest_name(manifest.generation), len(content), hashlib.sha256(content).hexdigest())


def encode(manifest: Manifest) -> bytes:
    """The bytes of a manifest, indented for readers."""
    return msgspec.json.format(msgspec.json.encode(manifest), indent=1) + b"\n"


def decode(content: bytes) -> Manifest | None:
    """A manifest; None where the bytes are none, such as when they were cut off."""
    try:
        found = json_decoder(Manifest).decode(content)
    except msgspec.DecodeError:
        return None
    return found if content.endswith(b"}\n") and found.format == 1 else None


def read_stub(folder: str | int) -> Stub | None:
    """`remote.json` in an archive's folder, given by its path or as an open one; None where there is none.

    Raises:
        OSError: it cannot be read.
        ValueError: it is damaged.
    """
    try:
        fd = open_plain(STUB, folder) if isinstance(folder, int) else open_plain(os.path.join(folder, STUB))
    except FileNotFoundError:
        return None
    with open(fd, "rb") as file:
        return json_decoder(Stub).decode(file.read())


def write_stub(folder: str, stub: Stub) -> None:
    """Replace `remote.json`, in one step that survives a power loss.

    Raises:
        OSError: the volume refuses; the old one stands.
    """
    atomic_replace(os.path.join(folder, STUB), msgspec.json.encode(stub))
