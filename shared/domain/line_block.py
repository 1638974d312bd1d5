"""Blocks as text: segments as /sendF takes them, one a line (`ndjson`), or in a JSON list (`list`)."""

from __future__ import annotations

import io
import sys
from array import array
from collections.abc import Iterable, Iterator, Sequence

import msgspec

from shared.decoding import json_decoder
from shared.domain import segment as segments
from shared.domain.runs import Runs
from shared.domain.sampling import detector_of
from shared.errors import BadSegment


class _Object(msgspec.Struct, gc=False):
    """Any object; all its members are skipped."""


_items = json_decoder(list[msgspec.Raw])
_objects = json_decoder(list[_Object])


class _Head(msgspec.Struct):
    """A segment without its samples, which are skipped."""

    t: list[float]
    detector: str = ""
    channel: str = ""


_head = json_decoder(_Head)
_SHORT = 12  # bytes


def parse(body: bytes, max_channels: int, max_samples: int) -> tuple[Runs, ...]:
    """Read and check a block: the runs in it.

    Args:
        body: the lines, or the list.
        max_channels: the most segments that it may have.
        max_samples: the most samples that each may have.

    Raises:
        BadSegment: the text says what is wrong with which segment.
    """
    groups: dict[tuple[str, float, float, int], list[str]] = {}
    seen: set[tuple[str, str, float]] = set()
    for number, text in enumerate(_segments(body, max_channels), 1):
        if number > max_channels:
            raise _too_many(max_channels)
        try:
            segment = segments.parse(text, max_samples)
        except BadSegment as error:
            raise BadSegment(f"segment {number} of the block: {error}") from None
        if not segment.channel:
            raise BadSegment(f"segment {number} of the block: `channel` is missing")
        key = (segment.detector, segment.channel, segment.t0)
        if key in seen:
            raise BadSegment(f"segment {number} of the block: {segment.channel} at GPS {segment.t0!r} stands twice")
        seen.add(key)
        groups.setdefault((segment.detector, segment.t0, segment.dt, len(segment.h)), []).append(segment.channel)
    if not groups:
        raise BadSegment("there is no segment in the block")
    return tuple(Runs(*times, tuple(channels)) for times, channels in groups.items())


def values(body: bytes, detector: str, channel: str, t0: float) -> array[float]:
    """The samples of a segment in a stored block.

    Raises:
        BadSegment: the block has no such segment, or is none.
    """
    try:
        for text in _segments(body):
            head = _head.decode(text)
            if head.channel == channel and head.t[0] == t0:
                found = segments.parse(text)  # which completes the detector
                if found.detector == detector:
                    return array("d", found.h)
    except (msgspec.DecodeError, IndexError) as error:
        raise BadSegment(str(error)) from None
    raise BadSegment(f"the block holds no segment of {channel} that begins at {t0}")


def by_run(body: bytes) -> dict[tuple[str, str, float], bytes]:
    """The segments of a stored block by detector, channel and first GPS time, for one who reads many of them.

    Raises:
        BadSegment: it is no block.
    """
    found: dict[tuple[str, str, float], bytes] = {}
    try:
        for text in _segments(body):
            head = _head.decode(text)
            found[detector_of(head.detector, head.channel), head.channel, head.t[0]] = text
    except (msgspec.DecodeError, ValueError, IndexError) as error:
        raise BadSegment(str(error)) from None
    return found


def _segments(body: bytes, most: int = sys.maxsize) -> Iterator[bytes]:
    return iter(_list(body, most) if body.lstrip()[:1] == b"[" else _lines(body))


def _list(body: bytes, most: int) -> Sequence[bytes]:
    try:
        commas = body.count(b",")
        # Texts of short items take many times their length; objects without their members take less.
        if commas >= most and _SHORT * commas > len(body) and len(_objects.decode(body)) > most:
            raise _too_many(most)
        return [bytes(item) for item in _items.decode(body)]
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise BadSegment(segments.advice(body, str(error))) from None
    except RecursionError:
        raise BadSegment("JSON is nested too deeply") from None


def _too_many(most: int) -> BadSegment:
    return BadSegment(f"there are more than {most} segments; send less at once")


def _lines(body: bytes) -> Iterable[bytes]:
    return (line for line in io.BytesIO(body) if line.strip())  # one at a time, because there may be millions
