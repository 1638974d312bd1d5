"""Parameters and answers of the routes for strain, as the OpenAPI document describes them."""

from __future__ import annotations

from typing import Any

import msgspec

from shared import web
from shared.web.bodies import EXAMPLE_CHANNEL, EXAMPLE_SECONDS, EXAMPLE_START

_TIME = {"type": "string", "pattern": "^[0-9]{1,9}([.][0-9]{1,9})?$"}
_RATE = {"type": "number", "exclusiveMinimum": 0}

CHANNEL = web.Parameter("channel", "its name", {"type": "string"}, example=EXAMPLE_CHANNEL)
PATTERN = web.Parameter("channel", "a pattern of names, with `*`, `?`, `[...]`", {"type": "string"}, example="V1:*")
DETECTOR = web.Parameter("detector", "such as V1", {"type": "string"})
RATE = web.Parameter("rate", "samples per second, where a channel has several", _RATE)
MIN_RATE = web.Parameter("min_rate", "samples per second, at least", _RATE)
MAX_RATE = web.Parameter("max_rate", "samples per second, at most", _RATE)
START = web.Parameter("start", "GPS seconds of the first sample, decimal", _TIME, example=str(EXAMPLE_START))
END = web.Parameter("end", "GPS seconds behind the last sample; or give `duration`", _TIME)
DURATION = web.Parameter("duration", "seconds", _TIME, example=str(EXAMPLE_SECONDS))
MIN_SECONDS = web.Parameter("min_seconds", "shortest span to list, seconds", _TIME)
BATCH = web.Parameter("batch", "`all` (default), `open`, a batch's number, or an archive's name", {"type": "string"})
STREAM = (CHANNEL, DETECTOR, RATE)

_FRAMETYPE = EXAMPLE_CHANNEL.replace(":", "_")
OBSERVATORY = web.Parameter("observatory", "first letter", {"type": "string"}, EXAMPLE_CHANNEL[0], where="path")
FRAMETYPE = web.Parameter("frametype", "as /channels has it", {"type": "string"}, _FRAMETYPE, where="path")
EXTENSION = web.Parameter("ext", "kind of file", {"enum": ["gwf", "hdf5", "h5"]}, "gwf", where="path")
SPAN = web.Parameter(
    "span", "start,end in GPS seconds", {"type": "string"},
    f"{EXAMPLE_START},{EXAMPLE_START + EXAMPLE_SECONDS}", where="path",
)  # fmt: skip


def file(extension: str) -> web.Parameter:
    """The last part of a file's path."""
    name = f"{EXAMPLE_CHANNEL[0]}-{_FRAMETYPE}-{EXAMPLE_START}-{EXAMPLE_SECONDS}.{extension}"
    return web.Parameter("file", "<O>-<frametype>-<start>-<seconds>.<ext>", {"type": "string"}, name, where="path")


def words(name: str, description: str, *choices: str, example: str | None = None) -> web.Parameter:
    """A parameter that is one of several words."""
    return web.Parameter(name, description, {"type": "string", "enum": list(choices)}, example)


class Channel(msgspec.Struct):
    """A stream: what is stored of a channel at one rate. Times are GPS seconds."""

    channel: str
    detector: str
    rate: float
    dt: float
    unit: str
    frametype: str
    observatory: str
    start: float
    end: float
    seconds: float
    gaps: int
    samples: int
    batches: list[int]


class Channels(msgspec.Struct):
    """A page of streams; `next` is the `after` of the next page."""

    channels: list[Channel]
    next: str | None


class Coverage(msgspec.Struct):
    """Which times of a stream are stored; spans are [begin, end) in GPS seconds. Other formats have other members."""

    channel: str = ""
    detector: str = ""
    rate: float = 0.0
    known: list[Any] = []
    active: list[list[float]] = []
    gaps: list[list[float]] = []
    overlaps: Any = None
    seconds: float = 0.0
    complete: bool = False
