"""Bodies of requests and answers as documents describe them, where handlers need no type to read or write them."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from shared.domain.sampling import MAX_GPS, MAX_INTERVAL, MIN_INTERVAL
from shared.domain.state import NOBODY

EXAMPLE_CHANNEL, EXAMPLE_START, EXAMPLE_SECONDS = "V1:EXAMPLE_4Hz", 1126259450, 2
EXAMPLE_SEGMENT: dict[str, object] = {
    "h": [1.0e-21, 1.5e-21, 1.2e-21, 0.4e-21, -0.6e-21, -1.3e-21, -1.4e-21, -0.8e-21],
    "t": [EXAMPLE_START, 0.25],
    "channel": EXAMPLE_CHANNEL,
}
"""A segment; the examples of the routes that read strain ask for its samples."""


JsonObject = dict[str, Any]
"""An object of a form that is not described further."""


class SegmentSchema(msgspec.Struct):
    """A strain segment. `t` may instead hold one GPS time for each sample of `h`; further keys are stored too."""

    h: Annotated[list[float], Meta(min_length=1, description="strain samples, dimensionless, in time order")]
    t: Annotated[
        list[float],
        Meta(
            description="[t0, dt]: GPS time of the first sample, and sampling interval, seconds",
            extra_json_schema={
                "prefixItems": [
                    {"type": "number", "minimum": 0, "exclusiveMaximum": MAX_GPS},
                    {"type": "number", "minimum": MIN_INTERVAL, "maximum": MAX_INTERVAL},
                ],
                "minItems": 2,
                "maxItems": 2,
            },
        ),
    ]
    detector: Annotated[
        str, Meta(pattern="^([A-Z][A-Za-z0-9]{0,15})?$", description="such as V1; by default the channel's prefix")
    ] = ""
    channel: Annotated[
        str, Meta(max_length=256, pattern="^[A-Za-z0-9_:.,-]*$", description="such as V1:Hrec_hoft_16384Hz")
    ] = ""


class Done(msgspec.Struct):
    """What was done: its code, and a sentence."""

    code: str
    body: str


class Names(msgspec.Struct):
    """File names in order of arrival."""

    nmlist: list[str]


class Failure(msgspec.Struct):
    """An error: its code, and a sentence. GlitchflowAPI repeats the code in `resp`."""

    code: str
    body: str
    resp: str = ""


class Status(msgspec.Struct):
    """Status of the batch, OPERATIONAL if it takes segments, and the operator on record."""

    dstatus: Literal["OPERATIONAL", "FROZEN"]
    user: str
    token: str


class StatusChange(msgspec.Struct):
    """The operator; `dstatus` OPERATIONAL opens the batch again."""

    user: Annotated[str, Meta(max_length=4096)] = NOBODY
    token: Annotated[str, Meta(max_length=4096)] = NOBODY
    dstatus: Literal["FROZEN", "OPERATIONAL"] = "FROZEN"


class CloudEvent(msgspec.Struct):
    """A CloudEvent in structured mode."""

    specversion: Literal["1.0"]
    id: Annotated[str, Meta(min_length=1)]
    source: Annotated[str, Meta(min_length=1)]
    type: str
    data: Any = None
