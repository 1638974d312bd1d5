"""Messages between a function and the process that writes HDF5 for it."""

from __future__ import annotations

from fractions import Fraction
from typing import Literal

import msgspec

from shared.domain.sampling import exact_rate

Layout = Literal["gwpy", "gwosc", "dtvirgo", "pycbc"]
Ratio = tuple[int, int]
"""A rational number: numerator and denominator."""


class Piece(msgspec.Struct, frozen=True):
    """Contiguous samples: GPS time of the first, and how many they are."""

    t0: Ratio
    n: int

    @property
    def start(self) -> Fraction:
        """GPS time of the first sample."""
        return Fraction(*self.t0)


class Channel(msgspec.Struct, frozen=True):
    """The pieces of one channel, in time order; `rate` in samples per second."""

    channel: str
    detector: str
    rate: float
    pieces: list[Piece]
    unit: str = "strain"

    @property
    def exact_rate(self) -> Fraction:
        """Samples per second, as `sampling.exact_rate`."""
        return exact_rate(self.rate)


class Request(msgspec.Struct, frozen=True):
    """A file to be written.

    Attributes:
        output: its path.
        span: first and last GPS time that were asked for.
        event: name of the group in the layout `dtvirgo`; by default the first whole GPS second.
    """

    layout: Layout
    output: str
    span: tuple[Ratio, Ratio]
    channels: list[Channel]
    event: str = ""

    @property
    def start(self) -> Fraction:
        """First GPS time that was asked for."""
        return Fraction(*self.span[0])

    @property
    def end(self) -> Fraction:
        """GPS time before which the samples lie that were asked for."""
        return Fraction(*self.span[1])


class Reply(msgspec.Struct, omit_defaults=True):
    """Why there is no file, empty if there is one; `rejected` if the same request would fail again."""

    error: str = ""
    rejected: bool = False
