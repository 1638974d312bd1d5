"""Blocks: the strain of many channels over one interval, in one payload. docs/blocks.md explains the formats.

The module that reads a format is imported with the first block of it, because most stores never see one.
"""

from __future__ import annotations

import contextlib
from array import array
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from shared.domain.runs import Runs
from shared.domain.segment import samples as segment_samples
from shared.errors import BadSegment

if TYPE_CHECKING:
    from shared.domain.arrow_block import Stored
    from shared.domain.arrow_stream import Content

ARROW, NDJSON, LIST = "arrow", "ndjson", "list"
MEDIA_TYPES = {"application/vnd.apache.arrow.stream": ARROW, "application/x-ndjson": NDJSON}
TYPES = {format: media for media, format in MEDIA_TYPES.items()}
_ARROW_MARK = b"\xff\xff\xff\xff"  # no JSON begins like that


class Block(NamedTuple):
    """A checked block: its format, and the runs in it."""

    format: str
    holds: tuple[Runs, ...]

    @property
    def runs(self) -> int:
        """How many runs it holds."""
        return sum(len(runs.channels) for runs in self.holds)

    @property
    def samples(self) -> int:
        """Samples of all channels."""
        return sum(runs.n * len(runs.channels) for runs in self.holds)


def media_type(content: bytes, format: str) -> str:
    """The media type of a stored payload; `format` as its record has it, where there is one."""
    return TYPES.get(ARROW if is_arrow(content) else format, "application/json")


def declared_format(headers: Mapping[str, str]) -> str:
    """The format of the block that a request says it carries, by its Content-Type; empty if it does not."""
    declared = headers.get("content-type")
    if declared is None or declared == "application/json":
        return ""
    return MEDIA_TYPES.get(declared.partition(";")[0].strip().lower(), "")


def format_of(headers: Mapping[str, str], body: bytes) -> str:
    """The format of the block in a request; empty for a segment."""
    if format := declared_format(headers):
        return format
    if body[:1] == b"{":  # nearly every body
        return ""
    if is_arrow(body):
        return ARROW
    return LIST if body.lstrip()[:1] == b"[" else ""


def parse(body: bytes, format: str, max_channels: int, max_samples: int) -> Block:
    """Read and check a block; all of it is right, or it is refused.

    Args:
        body: the payload.
        format: ARROW, NDJSON or LIST.
        max_channels: the most runs that it may hold.
        max_samples: the most samples in a segment, in text.

    Raises:
        BadSegment: the text says what is wrong with which channel.
    """
    if format == ARROW:
        from shared.domain import arrow_block

        return Block(format, arrow_block.parse(body, max_channels))
    from shared.domain import line_block

    return Block(format, line_block.parse(body, max_channels, max_samples))


def samples(content: bytes | Content, detector: str, channel: str, t0: float) -> Sequence[float]:
    """The samples of a run in a stored payload as float64; arguments and errors as `values`."""
    return _as_float64(values(content, detector, channel, t0))


def _as_float64(values: array[float] | array[int] | list[float]) -> Sequence[float]:
    return values if isinstance(values, list) or values.typecode == "d" else array("d", values)


def is_arrow(head: bytes) -> bool:
    """Whether a stored payload that begins with these bytes, four at least, is a block in Arrow's format."""
    return head[:4] == _ARROW_MARK


def values(content: bytes | Content, detector: str, channel: str, t0: float) -> array[float] | array[int] | list[float]:
    """The samples of a run in a stored payload, in the type in which they were sent.

    Args:
        content: a block; or a segment, which has only one run. Only a block in Arrow's format may be in a file.
        detector: of the run, as the record has it.
        channel: of the run.
        t0: GPS time of the run's first sample, as the record has it, seconds.

    Raises:
        BadSegment: the payload does not hold the run.
    """
    if not isinstance(content, bytes) or is_arrow(content):
        from shared.domain import arrow_block

        return arrow_block.values(content, detector, channel, t0)
    if content.lstrip()[:1] == b"{":
        try:
            return segment_samples(content)
        except BadSegment:
            if b"\n" not in content:
                raise
    from shared.domain import line_block

    return line_block.values(content, detector, channel, t0)


class Reader:
    """Reads runs of one stored payload, which is looked through once, however many are read.

    Args:
        content: a block; or a segment.
    """

    def __init__(self, content: bytes | Content) -> None:
        self._content = content
        self._arrow: Stored | None = None
        self._reads = 0
        self._segments: dict[tuple[str, str, float], bytes] = {}

    def samples(self, detector: str, channel: str, t0: float) -> Sequence[float]:
        """The samples of a run as float64; arguments and errors as `values`."""
        if not isinstance(self._content, bytes) or is_arrow(self._content):
            from shared.domain import arrow_block

            self._arrow = self._arrow or arrow_block.Stored(self._content)
            return _as_float64(self._arrow.values(detector, channel, t0))
        self._reads += 1
        if self._reads == 2:
            from shared.domain import line_block

            with contextlib.suppress(BadSegment):  # a segment in several lines
                self._segments = line_block.by_run(self._content)
        text = self._segments.get((detector, channel, t0))
        return samples(self._content, detector, channel, t0) if text is None else segment_samples(text)
