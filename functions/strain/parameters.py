"""Parameters of the requests for strain: times without rounding, rates, and formats by name or by Accept."""

from __future__ import annotations

import re
from collections.abc import Sequence
from fractions import Fraction
from typing import Protocol, TypeVar

from shared import web
from shared.domain.sampling import MAX_GPS
from shared.errors import BadRequest, NotAcceptable


class Format(Protocol):
    """A format of an answer: its name for `format=`, and its media type."""

    @property
    def name(self) -> str:
        """Such as csv."""

    @property
    def type(self) -> str:
        """Such as text/csv."""


F = TypeVar("F", bound=Format)

_DECIMAL = re.compile(r"[0-9]{1,10}(\.[0-9]{0,40})?")


def gps(request: web.Request, name: str) -> Fraction | None:
    """A parameter that is a GPS time or a duration in decimal seconds, exactly; None where it is not given.

    Raises:
        BadRequest: it is not such a number.
    """
    text = request.query.get(name)
    return None if text is None else gps_time(text, name, MAX_GPS)


def gps_time(text: str, name: str, most: float = 1e10) -> Fraction:
    """A GPS time or a duration in decimal seconds, exactly; `name` is what errors call it.

    Raises:
        BadRequest: it is not such a number, or more than `most`.
    """
    if not _DECIMAL.fullmatch(text) or (value := Fraction(text)) > most:
        raise BadRequest(f"`{name}` is {text[:40]!r}: must be decimal GPS seconds, from 0 to {most:.0f}")
    return value


def interval(request: web.Request) -> tuple[Fraction | None, Fraction | None]:
    """`start`, and `end` or `duration`.

    Raises:
        BadRequest: they are no interval.
    """
    start, end, duration = (gps(request, name) for name in ("start", "end", "duration"))
    if duration is not None:
        if end is not None or start is None:
            raise BadRequest("give `start` with either `end` or `duration`")
        end = start + duration
    if start is not None and end is not None and end <= start:
        raise BadRequest("`end` must be after `start`")
    return start, end


def whole_interval(request: web.Request) -> tuple[Fraction, Fraction]:
    """As `interval`, with both ends. Errors as there."""
    start, end = interval(request)
    if start is None or end is None:
        raise BadRequest("give `start` and `end`, or `start` and `duration`, in GPS seconds")
    return start, end


def rate(request: web.Request, name: str) -> float | None:
    """A parameter in samples per second; None where it is not given.

    Raises:
        BadRequest: it is not a positive number.
    """
    text = request.query.get(name)
    if text is None:
        return None
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        raise BadRequest(f"`{name}` is {text[:40]!r}: must be samples per second, such as 16384")
    return value


def stream(request: web.Request) -> tuple[str | None, str | None, float | None]:
    """`channel`, `detector` and `rate`, by which a stream is chosen.

    Raises:
        BadRequest: neither of the first two is given.
    """
    channel, detector = request.query.get("channel"), request.query.get("detector")
    if channel is None and detector is None:
        raise BadRequest("give `channel`, such as V1:Hrec_hoft_16384Hz; GET /channels lists them")
    return channel, detector, rate(request, "rate")


def word(request: web.Request, name: str, *words: str) -> str:
    """A parameter that is one of several words; by default the first.

    Raises:
        BadRequest: it is none of them.
    """
    value = request.query.get(name, words[0])
    if value not in words:
        raise BadRequest(f"`{name}` is {value[:40]!r}: must be one of {', '.join(words)}")
    return value


def negotiate(request: web.Request, formats: Sequence[F]) -> F:
    """The format that `format=` names, or else the first that Accept allows; by default the first of all.

    Raises:
        NotAcceptable: there is no such format.
    """
    offered = ", ".join(format.name for format in formats)
    if (name := request.query.get("format")) is not None:
        for format in formats:
            if format.name == name:
                return format
        raise NotAcceptable(f"`format` is {name[:40]!r}: must be one of {offered}")
    for media in _accepted(request.headers.get("accept", "")) or ["*/*"]:
        for format in formats:
            if media in ("*/*", format.type, format.type.partition("/")[0] + "/*"):
                return format
    raise NotAcceptable(f"Accept names no type that can be sent; `format=` is one of {offered}")


def _accepted(header: str) -> list[str]:
    """The media types of an Accept header, best first."""
    ranked: list[tuple[float, int, str]] = []
    for item in header.lower().split(",")[:32]:
        media, *parameters = (part.strip() for part in item.split(";"))
        quality = next((part[2:] for part in parameters if part.startswith("q=")), "1")
        try:
            weight = float(quality)
        except ValueError:
            weight = 1.0
        if media and weight > 0:
            ranked.append((-weight, len(ranked), media))
    return [media for _, _, media in sorted(ranked)]
