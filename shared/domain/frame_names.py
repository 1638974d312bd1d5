"""Names of files with strain after LIGO-T050017, and the files in which a stream can be had.

A file name is `V-V1_Hrec-1126259446-64.gwf`: observatory, frametype, GPS start and duration in whole seconds. A file
holds exactly the samples of its seconds, all from one stretch. So it never changes, and any such name is valid.
"""

from __future__ import annotations

import functools
import math
import re
from collections.abc import Iterable, Iterator, Mapping
from fractions import Fraction
from typing import NamedTuple

from shared.domain.sampling import exact_rate

Key = tuple[str, str, float]
"""Detector, channel and samples per second."""
Span = tuple[Fraction, Fraction]
"""GPS times of the first sample, and of the one after the last."""

EXTENSIONS = ("gwf", "hdf5", "h5")

# A frametype is a channel's name of up to 256 characters, with its rate and a number behind it.
_NAME = re.compile(r"([A-Z]{1,8})-(\w{1,300})-(\d{1,10})-(\d{1,10})\.(gwf|hdf5|h5)", re.ASCII)
_NO_TAG = re.compile(r"[^A-Za-z0-9_]")


class FrameFile(NamedTuple):
    """A file by its name; `start` and `duration` in whole GPS seconds."""

    observatory: str
    frametype: str
    start: int
    duration: int
    extension: str

    @property
    def name(self) -> str:
        """The name without a folder."""
        return f"{self.observatory}-{self.frametype}-{self.start}-{self.duration}.{self.extension}"

    @property
    def path(self) -> str:
        """The name below the folders of observatory and frametype."""
        return f"{self.observatory}/{self.frametype}/{self.name}"

    @classmethod
    def parse(cls, name: str) -> FrameFile | None:
        """The file with this name; None if it is no such name."""
        match = _NAME.fullmatch(name)
        if match is None or int(match[4]) == 0:
            return None
        return cls(match[1], match[2], int(match[3]), int(match[4]), match[5])


def observatory(detector: str) -> str:
    """First letter of a detector, `X` if it has none."""
    letter = detector[:1].upper()
    return letter if letter.isascii() and letter.isalpha() else "X"


@functools.lru_cache(maxsize=4)
def frametypes(keys: tuple[Key, ...]) -> Mapping[tuple[str, str], Key]:
    """The stream of each observatory and frametype.

    A frametype is the channel with `_` for all but ASCII letters, digits and `_`. Where two streams would share one,
    the first keeps it, and the other one's has its rate too, as in `V1_Hrec_4096HZ`.

    Args:
        keys: the streams in order of arrival, so that no name passes to another stream.
    """
    found: dict[tuple[str, str], Key] = {}
    numbers: dict[tuple[str, str], int] = {}  # the next for each name with a rate, because thousands may share it
    for key in keys:
        detector, channel, rate = key
        letter, tag = observatory(detector), _frametype(detector, channel)
        if (letter, tag) in found:
            plain = f"{tag}_{_NO_TAG.sub('_', f'{rate:g}')}HZ"
            number = numbers.get((letter, plain), 1)
            while (letter, tag := plain + (f"_{number}" if number > 1 else "")) in found:
                number += 1
            numbers[letter, plain] = number + 1
        found[letter, tag] = key
    return found


def _frametype(detector: str, channel: str) -> str:
    return _NO_TAG.sub("_", channel or detector or "strain")


def covering_name(detector: str, channel: str, begin: float, end: float, extension: str) -> str:
    """The name of a file for people, whose seconds cover a span between whole ones."""
    start = math.floor(begin)
    duration = max(math.ceil(end) - start, 1)
    return FrameFile(observatory(detector), _frametype(detector, channel), start, duration, extension).name


def whole_seconds(spans: Iterable[Span], rate: float) -> Iterator[tuple[int, int]]:
    """The whole GPS seconds of which a span has every sample, joined: the first, and the one after the last."""
    interval = 1 / exact_rate(rate)
    for start, end in spans:
        first, last = math.floor(start - interval) + 1, math.floor(end)
        if first < last:
            yield max(first, 0), last


def files_between(
    spans: Iterable[tuple[int, int]], rate: float, seconds: int, start: int, end: int
) -> Iterator[tuple[int, int]]:
    """Start and duration of the files, as `cut` makes them, that have a second from `start` to before `end`."""
    begin, stop = start - start % seconds, end + -end % seconds  # the files at the ends are whole
    for first, duration in cut(clipped(spans, begin, stop), rate, seconds):
        if first < end and first + duration > start:
            yield first, duration


def cut(spans: Iterable[tuple[int, int]], rate: float, seconds: int) -> Iterator[tuple[int, int]]:
    """Start and duration of files: `spans` cut at multiples of `seconds`. A file holds one sample at least."""
    exact = exact_rate(rate)
    for first, last in spans:
        start = first
        while start < last:
            end = min(start - start % seconds + seconds, last)
            if (end - start) * exact >= 1:
                yield start, end - start
            start = end


def clipped(spans: Iterable[tuple[int, int]], start: int, end: int) -> Iterator[tuple[int, int]]:
    """What lies of whole seconds from `start` to before `end`."""
    for first, last in spans:
        low, high = max(first, start), min(last, end)
        if low < high:
            yield low, high
