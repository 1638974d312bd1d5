"""Choosing channels: the streams of a batch that a request names."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Sequence

from shared.catalog.catalog import Catalog, Indexed
from shared.catalog.tracks import Track, glob, one_track, tracks
from shared.datasets.request import Request, Rule, exact, least_rate
from shared.errors import Ambiguous, BadRequest, NoData, NoSuchFile, Recovering, SpanTooLong
from shared.strain.index import Key

_INDEX_TIMEOUT = 60.0  # seconds for the index of a batch


@contextlib.contextmanager
def one_batch(catalog: Catalog, name: str) -> Iterator[Indexed]:
    """A batch as the catalog calls it, with its whole index, which may have to be made first.

    Raises:
        NoSuchFile: there is no such batch.
        Recovering: it is being archived, or its index is not made in time.
        DatastoreError: the volume cannot be read.
    """
    with contextlib.ExitStack() as stack:
        deadline = time.monotonic() + _INDEX_TIMEOUT
        while True:
            try:
                found = stack.enter_context(catalog.look(name))
                break
            except Recovering:  # a part of its journal has been read
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.001)
        if not found:
            raise NoSuchFile(f"there is no batch {name!r} any more")
        yield found[0]


def name_of(track: Track) -> str:
    """A channel's name in a set: the detector's where the channel has none."""
    detector, channel, _ = track.key
    return channel or detector or "strain"


def file_name(track: Track) -> str:
    """A channel's name in a file: HDF5 takes a slash for a group."""
    return name_of(track).replace("/", "_")


def select(batch: Indexed, request: Request, max_samples: int) -> list[Track]:
    """The channels of a set: the target first, the others by name.

    Raises:
        NoData: no channel matches, or the target is not there.
        Ambiguous: a name has several streams, or an array would hold several rates; `details` lists them.
        SpanTooLong: the window has more than `max_samples` samples of a channel.
        BadRequest: a channel's rate is too low for the Q-transform.
    """
    patterns = [glob(pattern) for pattern in request.channels]

    def wanted(key: Key) -> bool:
        name = key[1] or key[0] or "strain"
        right_rate = request.rate is None or abs(key[2] - request.rate) <= 1e-6 * request.rate
        return right_rate and (name == request.target or any(matches(name) for matches in patterns))

    found = list(tracks([batch], wanted))
    if not found:
        raise NoData(
            f"no channel matches {', '.join(request.channels[:10])}; GET /channels?batch={batch.name} lists them"
        )
    by_name: dict[str, list[Track]] = {}
    for track in found:
        by_name.setdefault(name_of(track), []).append(track)
    if request.target and request.target not in by_name:
        raise NoData(f"the target {request.target!r} is not there; GET /channels?batch={batch.name} lists channels")
    several = [track for same in by_name.values() if len(same) > 1 for track in same]
    if several:
        raise _ambiguous(f"{name_of(several[0])} has several streams: choose with `rate`", several)
    if len({file_name(track) for track in found}) < len(found):
        raise _ambiguous("names of channels differ in a slash only: choose with `channels`", found)
    _check_rates(found, request)
    longest = max(found, key=lambda track: track.rate)
    if request.duration * longest.rate > max_samples:
        raise SpanTooLong(
            f"`window` has more than {max_samples} samples of {name_of(longest)}: "
            f"{float(max_samples / longest.rate):g} s at most"
        )
    return sorted(found, key=lambda track: (name_of(track) != request.target, name_of(track)))


def _check_rates(found: Sequence[Track], request: Request) -> None:
    if request.layout == "stack" and len({track.rate for track in found}) > 1:
        raise _ambiguous("the layout stack holds channels of one rate: choose with `rate` or `channels`", found)
    if request.layout == "spectrograms":
        least = least_rate(request.transform.frange, request.transform.q)
        if slow := [name_of(track) for track in found if track.rate < least]:
            raise BadRequest(
                f"`transform.frange` needs {least:.0f} samples per second; {', '.join(slow[:10])} has fewer: "
                "lower its upper frequency, or choose other `channels`"
            )


def peaks_track(batch: Indexed, request: Request) -> Track | None:
    """The channel in which peaks are looked for; None if the request wants none. Errors as `select`."""
    rule = request.events
    if not isinstance(rule, Rule) or rule.peaks is None:
        return None
    track = one_track([batch], rule.peaks.channel, None, request.rate)
    least = least_rate(rule.peaks.frange, rule.peaks.q)
    if track.rate < least:
        raise BadRequest(
            f"`events.peaks.frange` needs {least:.0f} samples per second, "
            f"{rule.peaks.channel} has {float(track.rate):g}"
        )
    return track


def _ambiguous(text: str, found: Sequence[Track]) -> Ambiguous:
    error = Ambiguous(text)
    listed = [{"detector": d, "channel": c, "rate": r} for d, c, r in (track.key for track in found[:100])]
    error.details = {"streams": listed}
    return error


def tiles(reference: Track, every: float, request: Request, limit: int) -> list[float]:
    """Regular GPS times, multiples of `every`, whose windows lie between the ends of a channel.

    Raises:
        BadRequest: they are more than `limit`.
    """
    step = exact(every)
    begin, end = reference.ends()
    before, after = request.interval
    first, last = -(-(begin - before) // step), (end - after) // step
    if last - first >= limit:
        raise BadRequest(f"`events.every` makes more than {limit} events; make several sets")
    return [float(number * step) for number in range(int(first), int(last) + 1)]
