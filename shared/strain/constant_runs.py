"""Runs of equal samples: a detector always has noise, so these are a dropped-out or padded channel, not strain."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby

MIN_SECONDS = 0.01
MIN_SAMPLES = 16  # slow channels and rounded samples repeat a value now and then


def constant_runs(samples: Sequence[float], rate: float) -> list[tuple[int, int]]:
    """The runs of equal samples that are too long for noise: number of the first sample, and how many."""
    least = max(MIN_SAMPLES, round(MIN_SECONDS * rate))
    runs, position = [], 0
    for _, run in groupby(samples):
        length = sum(1 for _ in run)
        if length >= least:
            runs.append((position, length))
        position += length
    return runs


def between(runs: Sequence[tuple[int, int]], n: int) -> Iterator[tuple[int, int]]:
    """What lies between runs in `n` samples, in the same form."""
    position = 0
    for first, length in [*runs, (n, 0)]:
        if first > position:
            yield position, first - position
        position = first + length
