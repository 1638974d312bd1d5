"""The answers of /channels and /coverage."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Mapping
from decimal import Decimal
from fractions import Fraction
from urllib.parse import quote, unquote

from functions.strain import parameters
from functions.strain.answers import (
    BATCH,
    DETECTOR,
    DURATION,
    END,
    MAX_RATE,
    MIN_RATE,
    MIN_SECONDS,
    PATTERN,
    START,
    STREAM,
    Channels,
    Coverage,
    words,
)
from functions.strain.streams import known
from shared import web
from shared.catalog.catalog import Catalog
from shared.catalog.tracks import Span, Track, gaps, glob, one_track, seconds, tracks
from shared.domain.frame_names import frametypes, observatory
from shared.errors import Ambiguous, BadRequest, NoData
from shared.storage.batches import ALL_BATCHES
from shared.strain.index import Key
from shared.web.describe import LIMIT, NEXT, TEXT

_CHANNELS = 1000  # rows of a page by default
_EXACT = 14  # decimals; enough for every multiple of 1/16384 s


class Listing:
    """Answers requests for what there is.

    Args:
        catalog: of the store.
    """

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog

    @web.describe(
        "The channels of the store", PATTERN, DETECTOR, MIN_RATE, MAX_RATE, START, END, DURATION, BATCH, LIMIT, NEXT,
        answer=Channels, headers={"Link": 'the next page, `rel="next"`'},
    )  # fmt: skip
    def channels(self, request: web.Request) -> web.Response:
        """The answer of /channels."""
        query = request.query
        matches = glob(query.get("channel", "*"))
        detector = query.get("detector")
        low, high = parameters.rate(request, "min_rate") or 0.0, parameters.rate(request, "max_rate") or float("inf")
        interval = parameters.interval(request)
        limit = web.whole_number(request, "limit") or _CHANNELS
        after = _key_of(query["after"]) if query.get("after") else None

        def wanted(key: Key) -> bool:
            behind = after is None or key > after
            return behind and detector in (None, key[0]) and low <= key[2] <= high and matches(key[1])

        with self._catalog.look(query.get("batch", ALL_BATCHES)) as batches:
            names = _names(known(batches))
            found = (track for track in tracks(batches, wanted) if interval == (None, None) or track.has(*interval))
            page = list(itertools.islice(found, limit + 1))
            rows = [_row(track, names) for track in page[:limit]]
        following = _cursor(page[limit - 1].key) if len(page) > limit else None
        return web.next_page(request, web.json({"channels": rows, "next": following}), following)

    @web.describe(
        "Times of which a channel is stored", *STREAM, START, END, DURATION, MIN_SECONDS, BATCH,
        words("format", "of the answer", "json", "flag", "segwizard", "csv"),
        answer=Coverage, media=(web.JSON, TEXT, "text/csv"), errors=(NoData, Ambiguous),
    )  # fmt: skip
    def coverage(self, request: web.Request) -> web.Response:
        """The answer of /coverage."""
        form = parameters.word(request, "format", "json", "flag", "segwizard", "csv")
        interval = parameters.interval(request)
        min_seconds = parameters.gps(request, "min_seconds") or Fraction(0)
        stream = parameters.stream(request)
        with self._catalog.look(request.query.get("batch", ALL_BATCHES)) as batches:
            return _coverage(one_track(batches, *stream), interval, min_seconds, form)


@functools.lru_cache(maxsize=4)
def _names(keys: tuple[Key, ...]) -> Mapping[Key, str]:
    """The frametype of each stream."""
    return {key: name for (_, name), key in frametypes(keys).items()}


def _row(track: Track, names: Mapping[Key, str]) -> dict[str, object]:
    """The row of a stream in /channels."""
    detector, channel, rate = track.key
    begin, end = track.ends()
    samples, stretches = track.filled()
    return {
        "channel": channel,
        "detector": detector,
        "rate": rate,
        "dt": float(1 / track.rate),
        "unit": "strain",
        "frametype": names[track.key],
        "observatory": observatory(detector),
        "start": float(begin),
        "end": float(end),
        "seconds": float(samples / track.rate),
        "gaps": stretches - 1,
        "samples": samples,
        "batches": [batch.number for batch in track.batches],
    }


def _cursor(key: Key) -> str:
    """The `after` that continues behind a stream."""
    detector, channel, rate = key
    return "/".join([quote(detector, safe=""), quote(channel, safe=""), repr(rate)])


def _key_of(after: str) -> Key:
    """The inverse of `cursor`.

    Raises:
        BadRequest: it is none.
    """
    try:
        detector, channel, rate = after.split("/")
        return unquote(detector), unquote(channel), float(rate)
    except ValueError:
        raise BadRequest("`after` must be the `next` of an answer of /channels") from None


def _coverage(
    track: Track, interval: tuple[Fraction | None, Fraction | None], min_seconds: Fraction, form: str
) -> web.Response:
    """The answer of /coverage in one of its forms: json, flag, segwizard, csv."""
    start, end = interval
    spans = list(track.spans(start, end))
    missing = gaps(spans, start, end, track.rate)
    active = [span for span in spans if span[1] - span[0] >= min_seconds]
    if form == "segwizard":
        return web.text("".join(f"{i}\t{_columns(span)}\n" for i, span in enumerate(active)))
    if form == "csv":
        return web.Response("".join(f"{_columns(span, ',', 2)}\n" for span in active).encode(), type="text/csv")
    detector, channel, rate = track.key
    whole = track.ends()
    known = (whole[0] if start is None else start, whole[1] if end is None else end)
    if form == "flag":
        name = channel.removeprefix(f"{detector}:") or "STRAIN"
        return web.json(
            {
                "ifo": detector,
                "name": f"{name}-AVAILABLE",
                "version": 1,
                "known": seconds([known]),
                "active": seconds(active),
                "metadata": {
                    "flag_description": f"strain of {channel} is stored",
                    "active_indicates_ifo_badness": False,
                },
            }
        )
    return web.json(
        {
            "channel": channel,
            "detector": detector,
            "rate": rate,
            "known": seconds([known])[0],
            "active": seconds(active),
            "gaps": seconds(missing),
            "overlaps": track.overlaps,
            "seconds": float(sum((stop - begin for begin, stop in active), Fraction(0))),
            "complete": bool(spans) and not missing,
        }
    )


def _columns(span: Span, separator: str = "\t", count: int = 3) -> str:
    """Begin, end and duration: the last is the difference of the digits shown."""
    begin, end = map(_decimal, span)
    return separator.join([f"{begin:f}", f"{end:f}", f"{(end - begin).normalize():f}"][:count])


def _decimal(time: Fraction) -> Decimal:
    """A time in decimal digits: all of them if they are few, else rounded to nanoseconds."""
    scaled = time * 10**_EXACT
    digits = _EXACT if scaled.denominator == 1 else 9
    exact = Decimal(round(time * 10**digits)).scaleb(-digits)
    return exact.normalize() if exact != exact.to_integral() else exact.quantize(Decimal(1))
