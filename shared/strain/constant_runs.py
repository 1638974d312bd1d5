"""Runs of equal samples: a detector always has noise, so these are a dropped-out or padded channel, not strain."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from operator import eq

MIN_SECONDS = 0.01
MIN_SAMPLES = 16  # slow channels and rounded samples repeat a value now and then


def constant_runs(samples: Sequence[float], rate: float) -> list[tuple[int, int]]:
    """The runs of equal samples that are too long for noise: number of the first sample, and how many."""
    least = max(MIN_SAMPLES, round(MIN_SECONDS * rate))
    # Such a run has a sample with a number that is a multiple of `step`, and the one behind it. Few pairs of noise are
    # equal, so that looking at these pairs is nearly all of the work.
    step = least - 1
    equal = map(eq, samples[:-1:step], samples[1::step])
    runs: list[tuple[int, int]] = []
    position = 0
    for number, same in enumerate(equal):
        if not same or (first := number * step) < position:
            continue
        value, stop = samples[first], first + 2
        while first > position and samples[first - 1] == value:
            first -= 1
        while stop < len(samples) and samples[stop] == value:
            stop += 1
        position = stop
        if stop - first >= least:
            runs.append((first, stop - first))
    return runs


def between(runs: Sequence[tuple[int, int]], n: int) -> Iterator[tuple[int, int]]:
    """What lies between runs in `n` samples, in the same form."""
    position = 0
    for first, length in [*runs, (n, 0)]:
        if first > position:
            yield position, first - position
        position = first + length
