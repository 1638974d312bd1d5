"""Strain segments: as clients post them, and as the store keeps them."""

from __future__ import annotations

import re
from typing import NamedTuple

import msgspec

from shared.decoding import json_decoder
from shared.domain.json_members import repeated_member
from shared.domain.sampling import MAX_GPS, MAX_INTERVAL, MAX_NAME, MIN_INTERVAL, detector_of
from shared.errors import BadSegment


class Segment(msgspec.Struct, gc=False):
    """A posted segment: contiguous strain of one channel.

    Attributes:
        h: strain samples, dimensionless, in time order.
        t: `[t0, dt]`, GPS seconds of the first sample and the sampling interval in seconds; or one GPS time per
            sample, as some clients in the field send. Two numbers are always read as `[t0, dt]`.
        detector: as LIGO-Virgo name them, such as "V1".
        channel: such as "V1:Hrec_hoft_16384Hz".
    """

    h: list[float]
    t: list[float]
    detector: str = ""
    channel: str = ""

    @property
    def t0(self) -> float:
        """GPS time of the first sample, seconds."""
        return self.t[0]

    @property
    def dt(self) -> float:
        """Sampling interval, seconds; with one time per sample their mean spacing, 0 for a single sample."""
        if len(self.t) == 2:
            return self.t[1]
        return (self.t[-1] - self.t[0]) / max(len(self.t) - 1, 1)


class StoredSegment(NamedTuple):
    """A segment of the batch: its file, and where its samples lie in time.

    Attributes:
        name: of the file in `data/`.
        detector: such as "L1"; empty where the client did not say.
        channel: such as "L1:GWOSC-4KHZ_R1_STRAIN", or empty.
        t0: GPS time of the first sample, seconds.
        dt: sampling interval, seconds.
        n: number of samples.
        crc32: CRC-32 of the file; -1 where it is not known.
    """

    name: str
    detector: str
    channel: str
    t0: float
    dt: float
    n: int
    crc32: int = -1


_LONG_AGO = 1e8  # GPS seconds: a time of these years, not an interval
_NOT_FINITE = re.compile(rb"[\[,:]\s*-?(?:NaN|nan|Infinity|Inf|inf|null)\b")
_decoder = json_decoder(Segment)
_MEMBERS = tuple(f'"{name}"'.encode() for name in Segment.__struct_fields__)


def parse(body: bytes, max_samples: int = 1 << 62) -> Segment:
    """Read and check a segment; unknown keys are ignored here and kept in the stored file.

    Args:
        body: JSON.
        max_samples: the most samples it may have.

    Raises:
        BadSegment: the text says what is wrong with which field. JSON has no NaN and no infinity, and a number
            that overflows a double is refused, so every sample is finite. A missing `detector` is taken from the
            channel's name.
    """
    try:
        if not body.isascii():  # strings that are skipped over are not checked by the decoder
            body.decode()
        segment = _decoder.decode(body)
    except UnicodeDecodeError as error:
        raise BadSegment(f"the body is not UTF-8 (byte {error.start})") from None
    except msgspec.DecodeError as error:  # ValidationError included
        raise BadSegment(advice(body, str(error))) from None
    except RecursionError:
        raise BadSegment("JSON is nested too deeply") from None
    if _may_repeat(body, segment) and (name := repeated_member(body)) is not None:
        raise BadSegment(f"`{name}` stands twice; send each member once")
    if len(segment.h) > max_samples:
        raise BadSegment(f"`h` has {len(segment.h)} samples: at most {max_samples} are taken")
    if not segment.h:
        raise BadSegment("`h` is empty")
    t = segment.t
    if not (len(t) == 2 and 0 <= t[0] < MAX_GPS and MIN_INTERVAL <= t[1] <= MAX_INTERVAL):  # as nearly every segment
        _check_times(segment)
    if max(len(segment.detector), len(segment.channel)) > MAX_NAME:
        raise BadSegment(f"`detector` and `channel` are at most {MAX_NAME} characters long")
    try:
        segment.detector = detector_of(segment.detector, segment.channel)
    except ValueError as error:
        raise BadSegment(str(error)) from None
    return segment


def advice(body: bytes, reason: str) -> str:
    """What to do about JSON that cannot be decoded, where that is known; by default the decoder's reason."""
    if _NOT_FINITE.search(body):
        return f"JSON has no NaN and no infinity: leave the sample out, and send what follows by itself ({reason})"
    return reason


class _Samples(msgspec.Struct):
    h: list[float]


_samples = json_decoder(_Samples)


def samples(body: bytes) -> list[float]:
    """The samples of a stored segment, whatever its times and names.

    Raises:
        BadSegment: it is none.
    """
    try:
        return _samples.decode(body).h
    except msgspec.DecodeError as error:
        raise BadSegment(str(error)) from None


def _check_times(segment: Segment) -> None:
    t = segment.t
    if len(t) == 2:
        if t[1] <= 0:
            raise BadSegment("`t[1]`, the sampling interval in seconds, must be positive")
        if t[1] < MIN_INTERVAL:
            raise BadSegment(f"the sampling interval is {t[1]:g} s: must be {MIN_INTERVAL:g} s or more")
    elif len(t) != len(segment.h):
        raise BadSegment(f"`t` holds {len(t)} numbers: must be [t0, dt] or one per sample of `h` ({len(segment.h)})")
    if not 0 <= t[0] < MAX_GPS or not t[-1] < MAX_GPS:
        raise BadSegment(f"`t` begins at {t[0]:g}: must be GPS time in seconds, from 0 to {MAX_GPS:.0f}")
    dt = segment.dt
    if dt > MAX_INTERVAL:
        hint = "two samples with two times go as [t0, t1 - t0]" if dt > _LONG_AGO else "is it a sampling rate?"
        raise BadSegment(f"the sampling interval is {dt:g} s, at most {MAX_INTERVAL:g} s are taken; {hint}")
    if len(t) > 2:
        _check_spacing(segment)


def _check_spacing(segment: Segment) -> None:
    """Refuse one time per sample unless they increase evenly, to half a sample."""
    t0, dt = segment.t0, segment.dt
    if dt < MIN_INTERVAL or any(abs(t - t0 - i * dt) > dt / 2 for i, t in enumerate(segment.t)):
        raise BadSegment("`t` must increase evenly, to half a sampling interval; send what lies between gaps by itself")


def _may_repeat(body: bytes, segment: Segment) -> bool:
    """Whether a member might stand twice: never wrong where it says no, and quick where there are no other members.

    Each further member adds quotes, however its name is spelled. With escapes the name itself is not found, so any
    backslash counts.
    """
    start = body.find(b"[")
    behind = body.find(b'"', start)  # skips samples faster than `count` does
    quotes = body.count(b'"', 0, start) + body.count(b'"', behind)
    if quotes <= (4, 8, 12)[(segment.detector != "") + (segment.channel != "")]:
        return False
    return b"\\" in body or any(body.count(name) > 1 for name in _MEMBERS)
