"""Text formats: JSON as /sendF takes it, CSV of times and strain, and GWOSC's text files."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import msgspec

from shared.errors import BadRequest
from shared.strain.formats.body import Body, Streamed
from shared.strain.series import Series

_NS = 10**9


def json_body(series: Sequence[Series]) -> Body:
    """An object that is a body for /sendF; a list of them where there are several series. NaN is `null`."""
    return Streamed(lambda: _json(series))


def _json(series: Sequence[Series]) -> Iterator[bytes]:
    for number, one in enumerate(series):
        before = b'{"h":[' if len(series) == 1 else b',{"h":[' if number else b'[{"h":['
        for block in one.blocks():
            yield before + msgspec.json.encode(block.tolist())[1:-1]
            before = b","
        about = {
            "t": [float(one.t0), float(1 / one.rate)],
            "detector": one.detector,
            "channel": one.channel,
            "gps": one.gps,
            "rate": float(one.rate),
        }
        yield b"]," + msgspec.json.encode(about)[1:]
    if len(series) > 1:
        yield b"]"


def csv_body(series: Sequence[Series]) -> Body:
    """Lines of GPS time, with nine decimals, and strain; no header. Samples that are missing have no line."""
    return Streamed(lambda: (line for one in series for line in _csv(one)))


def _csv(series: Series) -> Iterator[bytes]:
    """Whole numbers only, because fractions cost ten times as much."""
    denominator = series.t0.denominator * series.rate.numerator
    time = series.t0.numerator * series.rate.numerator * _NS
    step = series.rate.denominator * series.t0.denominator * _NS
    for block in series.blocks():
        lines = []
        for value in block:
            ns, rest = divmod(2 * time + denominator, 2 * denominator)
            ns -= rest == 0 and ns & 1  # half to even, as everywhere
            seconds, ns = divmod(ns, _NS)
            lines.append(f"{seconds}.{ns:09d},{value!r}\n")
            time += step
        yield "".join(lines).encode()


def txt_body(series: Sequence[Series]) -> Body:
    """One column of strain under GWOSC's header.

    Raises:
        BadRequest: the header cannot say the time of the first sample, or the rate.
    """
    (one,) = series
    if one.t0.denominator != 1 or one.rate.denominator != 1:
        raise BadRequest("format=txt has whole GPS seconds and rates only: begin at a whole second, or use format=csv")
    duration = float(one.n / one.rate)
    header = (
        f"# Strain of {one.name}\n# This file has {one.rate} samples per second\n"
        f"# starting GPS {one.t0} duration {duration:g}\n"
    )

    def lines() -> Iterator[bytes]:
        yield header.encode()
        for block in one.blocks():
            yield "".join([f"{value!r}\n" for value in block]).encode()

    return Streamed(lines)
