"""The answers of /strain and /data: samples of one channel over one interval, in a format."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Sequence
from fractions import Fraction

from functions.strain import parameters
from functions.strain.answers import BATCH, DURATION, END, FRAMETYPE, OBSERVATORY, START, STREAM, file, words
from functions.strain.streams import known
from shared import web
from shared.catalog.catalog import Catalog, Indexed
from shared.catalog.tracks import Track, joined, one_track, require_whole
from shared.domain.frame_names import FrameFile, covering_name, frametypes
from shared.errors import Ambiguous, BadRequest, Gap, NoData, NotAcceptable, NotFrozen, Recovering, SpanTooLong
from shared.storage.batches import ALL_BATCHES
from shared.strain.formats.body import Format
from shared.strain.formats.registry import FILES, FORMATS, HDF5
from shared.strain.series import Series
from shared.web.bodies import JsonObject

_ATTEMPTS, _PAUSE = 40, 0.05  # seconds: a cleanall moves the batch's files in far less
_GWOSC = "gwosc/"  # folder of HDF5 in GWOSC's layout, below /data
_NAN = float("nan")
_FILES = tuple(dict.fromkeys(FILES[name].type for name in ("gwf", "hdf5")))

Interval = tuple[Fraction, Fraction]


class Samples:
    """Answers requests for samples.

    Args:
        catalog: of the store.
        max_span: the most samples in an answer.
    """

    def __init__(self, catalog: Catalog, max_span: int) -> None:
        self._catalog = catalog
        self._max_span = max_span

    @web.describe(
        "Samples of a channel", *STREAM, START, END, DURATION, BATCH,
        words("format", "of the answer; or say it by Accept", *FORMATS, example="json"),
        words("layout", "of HDF5", *HDF5),
        words("gaps", "what stands for missing samples", "error", "nan", "zero", "split"),
        answer=JsonObject, media=tuple(dict.fromkeys(format.type for format in FORMATS.values())),
        errors=(SpanTooLong, NoData, NotAcceptable, Gap, Ambiguous),
    )  # fmt: skip
    def strain(self, request: web.Request) -> web.Response:
        """The answer of /strain."""
        format = parameters.negotiate(request, list(FORMATS.values()))
        gaps = parameters.word(request, "gaps", "error", "nan", "zero", "split")
        if gaps == "split" and not format.several:
            names = ", ".join(name for name, one in FORMATS.items() if one.several)
            raise BadRequest(f"gaps=split needs a format that holds several pieces: {names}")
        if format is HDF5["gwpy"]:
            format = HDF5[parameters.word(request, "layout", *HDF5)]
        start, end = parameters.whole_interval(request)
        stream = parameters.stream(request)

        def choose(batches: list[Indexed]) -> list[Series]:
            found = one_track(batches, *stream, interval=(start, end)).series(start, end, self._max_span)
            if gaps == "error":
                return [require_whole(found, start, end)]
            return found if gaps == "split" else [joined(found, start, end, _NAN if gaps == "nan" else 0.0)]

        return self._answer(request, format, (start, end), choose)

    @web.describe(
        "A file of whole seconds", OBSERVATORY, FRAMETYPE, file("gwf"), below="{observatory}/{frametype}/{file}",
        media=_FILES, errors=(NoData,),
    )  # fmt: skip
    @web.describe(
        "A file in GWOSC's layout", OBSERVATORY, FRAMETYPE, file("hdf5"), media=_FILES[1:], errors=(NoData,),
        below="gwosc/{observatory}/{frametype}/{file}",
    )  # fmt: skip
    def file(self, request: web.Request) -> web.Response:
        """The answer of /data: every whole-second interval that is covered without a gap is a file."""
        path = request.path.removeprefix("/data/")
        for_gwosc = path.startswith(_GWOSC)
        found = FrameFile.parse(path.rpartition("/")[2])
        if found is None or path.removeprefix(_GWOSC) != found.path or (for_gwosc and found.extension == "gwf"):
            extensions = " or ".join(f".{extension}" for extension in FILES)
            raise NoData(
                "files are called /data/<O>/<frametype>/<O>-<frametype>-<GPS start>-<seconds>, with "
                f"{extensions} behind; GET /channels lists observatories and frametypes"
            )
        format = HDF5["gwosc"] if for_gwosc else FILES[found.extension]
        begin, end = Fraction(found.start), Fraction(found.start + found.duration)

        def choose(batches: list[Indexed]) -> list[Series]:
            try:
                track = _named(batches, found)
                return [require_whole(track.series(begin, end, self._max_span), begin, end)]
            except Gap as error:
                missing = NoData("part of that interval is missing, so there is no such file; see GET /coverage")
                missing.details = error.details
                raise missing from None

        return self._answer(request, format, (begin, end), choose)

    def _answer(
        self, request: web.Request, format: Format, interval: Interval, choose: Callable[[list[Indexed]], list[Series]]
    ) -> web.Response:
        for _ in range(_ATTEMPTS):
            try:
                with self._catalog.look(request.query.get("batch", ALL_BATCHES)) as batches:
                    series = choose(batches)
                return web.serve(request, _content(format, series, interval))
            except NotFrozen:  # archived at this moment: the files are found in the archive
                time.sleep(_PAUSE)
        raise Recovering("The batch is being archived; send the request again.")


def _named(batches: list[Indexed], file: FrameFile) -> Track:
    key = frametypes(known(batches)).get((file.observatory, file.frametype))
    if key is None:
        raise NoData(f"{file.observatory} has no channel of frametype {file.frametype}; GET /channels lists frametypes")
    return one_track(batches, key[1], key[0], key[2])


def _content(format: Format, series: Sequence[Series], interval: Interval) -> web.Content:
    """What is sent: series in a format, with headers that tell their times."""
    body = format.body(series)
    first, last = series[0], series[-1]
    ends = float(first.t0), float(last.t0 + last.n / last.rate)
    seconds, nanoseconds = first.gps
    rate = first.rate
    headers = {
        "X-GPS-Start": f"{seconds}.{nanoseconds:09d}",
        "X-Sample-Rate": str(rate.numerator) if rate.denominator == 1 else repr(float(rate)),
        "X-Samples": str(sum(one.n for one in series)),
        "Content-Disposition": (
            f'attachment; filename="{covering_name(first.detector, first.channel, *ends, format.extension)}"'
        ),
    }
    identity = hashlib.sha256(repr((format.name, interval)).encode())
    for one in series:
        identity.update(one.identity())
    return web.Content(format.type, identity.hexdigest()[:32], lambda: body.size, body.read, headers)
