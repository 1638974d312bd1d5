"""Blocks: the strain of many channels, cut into intervals of the same length, each to be posted in one request."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from fractions import Fraction
from math import ceil

import numpy

from gwclient.arrow_stream import MEDIA_TYPE, BlockWriter, Column
from gwclient.errors import NoData
from gwclient.sources import Strain

_ON_GRID = Fraction(1, 10**6)  # of a sample


class Blocks:
    """Strain of several channels in blocks of `seconds`. Samples that are not finite, or not there, are gaps.

    Args:
        channels: of different names.
        seconds: in a block; it must hold a whole number of samples of each channel.

    Raises:
        NoData: the channels cannot share blocks.
    """

    media_type = MEDIA_TYPE

    def __init__(self, channels: Sequence[Strain], seconds: Fraction) -> None:
        self.channels = channels
        self._seconds = seconds
        self._begin = min(strain.t0 for strain in channels)
        end = max(strain.t0 + len(strain.samples) / strain.rate for strain in channels)
        self._writer = BlockWriter({strain.channel: _text(strain.rate) for strain in channels})
        self._first = [self._offset(strain) for strain in channels]
        self._length = [int(strain.rate * seconds) for strain in channels]
        spans = ceil((end - self._begin) / seconds)
        self._spans = [span for span in range(spans) if any(self._holds(i, span) for i in range(len(channels)))]

    @property
    def count(self) -> int:
        """The number of blocks. An interval in which no channel has a sample is none."""
        return len(self._spans)

    @property
    def duration(self) -> float:
        """Seconds in a block."""
        return float(self._seconds)

    @property
    def size(self) -> int:
        """Bytes of samples in a full block."""
        return int(sum(8 * strain.rate * self._seconds for strain in self.channels))

    def body(self, number: int) -> bytes:
        """The Arrow stream to post."""
        span = self._spans[number]
        columns = [self._column(index, span) for index in range(len(self.channels))]
        return self._writer.block(round((self._begin + span * self._seconds) * 10**9), columns)

    def key(self, number: int, run: str) -> str:
        """The idempotency key of a block: the same in every attempt of one run, different in another run."""
        return f"block-{float(self._begin + self._spans[number] * self._seconds)!r}-{number}-{run}"

    def stream_id(self, url: str) -> str:
        """A digest of the strain, the length of the blocks, and the URL."""
        digests = " ".join(strain.digest() for strain in self.channels)
        return hashlib.sha256(f"{digests} blocks {self._seconds} {url}".encode()).hexdigest()

    def _offset(self, strain: Strain) -> int:
        """Samples of a channel's grid between the begin of the first block and the channel's first sample."""
        offset = (strain.t0 - self._begin) * strain.rate
        if abs(offset - round(offset)) > _ON_GRID:
            raise NoData(f"{strain.channel} is not sampled at the times of the others: send it by itself")
        if (strain.rate * self._seconds).denominator != 1:
            raise NoData(
                f"{float(self._seconds):g} s do not hold a whole number of samples of {strain.channel}, which has "
                f"{float(strain.rate):g} Hz: choose other --seconds, or send it by itself"
            )
        return round(offset)

    def _range(self, index: int, span: int) -> tuple[int, int]:
        """The first of a channel's samples in an interval, and the one behind the last; the first may be negative."""
        first = span * self._length[index] - self._first[index]
        return first, min(first + self._length[index], len(self.channels[index].samples))

    def _holds(self, index: int, span: int) -> bool:
        first, stop = self._range(index, span)
        valid = self.channels[index].valid
        return stop > max(first, 0) and (valid is None or bool(valid[max(first, 0) : stop].any()))

    def _column(self, index: int, span: int) -> Column:
        samples, valid = self.channels[index].samples, self.channels[index].valid
        if not self._holds(index, span):
            return Column(samples[:0])
        first, stop = self._range(index, span)
        samples = samples[max(first, 0) : stop]
        valid = valid if valid is None else valid[max(first, 0) : stop]
        if first < 0:
            valid = numpy.ones(len(samples), bool) if valid is None else valid
            samples = numpy.concatenate([numpy.zeros(-first), samples])
            valid = numpy.concatenate([numpy.zeros(-first, bool), valid])
        return Column(samples, valid)


def _text(rate: Fraction) -> str:
    return str(rate.numerator) if rate.denominator == 1 else repr(float(rate))
