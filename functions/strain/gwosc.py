"""GWOSC's API v2: strain as open data of runs. For gwosc and gwpy's `TimeSeries.fetch_open_data`.

Source: gwosc 0.8. Each stream is a run, named like its frametype, so that `dataset=` selects it. There are no events.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from fractions import Fraction

import msgspec

from functions.strain.answers import FRAMETYPE
from functions.strain.parameters import gps_time
from functions.strain.streams import Catalog, StreamIndex
from shared import web
from shared.domain.frame_names import FrameFile, Key, files_between, frametypes, whole_seconds
from shared.errors import BadRequest, NoSuchFile
from shared.web.bodies import JsonObject

PREFIX = "/api/v2"
_RATES = {"4": 4096.0, "16": 16384.0}  # as clients name them, kHz
_FOREVER = 1 << 62
_RUN = web.Parameter("run", "as /api/v2/runs lists them", {"type": "string"}, FRAMETYPE.example, where="path")

Address = Callable[[web.Request], Callable[[FrameFile], str]]
"""For a request: what gives the URL of a file; HDF5 in GWOSC's layout."""


def routes(catalog: Catalog, address: Address, seconds: int) -> web.Routes:
    """The routes.

    Args:
        catalog: the streams.
        address: the URLs of files.
        seconds: files are cut at multiples of these.
    """

    @web.describe("GWOSC: nothing, in their form", answer=JsonObject)
    def nothing(request: web.Request) -> web.Response:
        return _page(0, [])

    @web.describe("GWOSC: a run for each stream", answer=JsonObject)
    def runs(request: web.Request) -> web.Response:
        with catalog() as streams:
            found = [_run(run, key, streams) for run, (_, key) in _runs(streams).items()]
        return _page(len(found), found)

    @web.describe("GWOSC: a run", _RUN, answer=JsonObject, below="{run}")
    @web.describe("GWOSC: files with a run's strain", _RUN, answer=JsonObject, below="{run}/strain-files")
    def run(request: web.Request) -> web.Response:
        name, *rest = request.path.removeprefix(f"{PREFIX}/runs/").split("/")
        with catalog() as streams:
            known = _runs(streams)
            if name not in known or rest not in ([], ["strain-files"]):
                raise NoSuchFile(f"there is no run {name!r}; {PREFIX}/runs lists the streams as runs")
            frametype, key = known[name]
            if not rest:
                return web.json(_run(name, key, streams))
            detector, _, rate = key
            start, end = _span(request.query)
            if request.query.get("detector", detector) != detector or not _same_rate(request.query, rate):
                return _page(0, [])
            begin, stop = start - start % seconds, end + -end % seconds
            covered = list(whole_seconds(streams.spans(key, Fraction(begin), Fraction(stop)), rate))
        url = address(request)

        def files() -> Iterator[tuple[int, int]]:
            return files_between(covered, rate, seconds, start, end)

        def described(first: int, duration: int) -> dict[str, object]:
            return {
                "detector": detector,
                "gps_start": first,
                "duration": duration,
                "sample_rate_kHz": next((int(k) for k, hertz in _RATES.items() if hertz == rate), rate / 1000),
                "hdf5_url": url(FrameFile(*frametype, first, duration, "hdf5")),
                "gwf_url": url(FrameFile(*frametype, first, duration, "gwf")),
            }

        return _page(sum(1 for _ in files()), (described(*file) for file in files()))

    return {
        ("GET", f"{PREFIX}/event-versions"): nothing,
        ("GET", f"{PREFIX}/catalogs"): nothing,
        ("GET", f"{PREFIX}/runs"): runs,
        ("GET", f"{PREFIX}/runs/*"): run,
    }


def _page(n: int, results: Iterable[dict[str, object]]) -> web.Response:
    """All of `n` results on one page, streamed."""
    page = {"results_count": n, "results_per_page": n, "num_pages": 1, "next": None, "previous": None}
    before = msgspec.json.encode(page)[:-1] + b',"results":['
    return web.json_list(map(msgspec.json.encode, results), before, b"]}")


def _runs(streams: StreamIndex) -> dict[str, tuple[tuple[str, str], Key]]:
    """Observatory and frametype, and stream, of each run."""
    found: dict[str, tuple[tuple[str, str], Key]] = {}
    for name, key in frametypes(streams.known()).items():
        # Clients cut a name that contains KHZ_R1 at its first underscore.
        run = name[1].replace("KHZ_R1", "KHZR1")
        found.setdefault(run if run not in found else f"{name[0]}_{run}", (name, key))
    return found


def _run(name: str, key: Key, streams: StreamIndex) -> dict[str, object]:
    start, end = streams.extent(key)
    return {"name": name, "gps_start": math.floor(start), "gps_end": math.ceil(end), "detectors": [key[0]]}


def _span(query: Mapping[str, str]) -> tuple[int, int]:
    start = gps_time(query["start"], "start") if "start" in query else 0
    return math.floor(start), math.ceil(gps_time(query["stop"], "stop")) if "stop" in query else _FOREVER


def _same_rate(query: Mapping[str, str], rate: float) -> bool:
    wanted = query.get("sample-rate", "")
    try:
        return not wanted or _RATES.get(wanted, float(wanted)) == rate
    except ValueError:
        raise BadRequest("`sample-rate` must be 4 or 16 for kHz, or the rate in Hz") from None
