"""GWOSC's API v2: strain as open data of runs. For gwosc and gwpy's `TimeSeries.fetch_open_data`.

Source: gwosc 0.8. Each stream is a run, named like its frametype, so that `dataset=` selects it. There are no events.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from fractions import Fraction

from functions.strain.streams import Catalog, KnownStream, by_frametype, gps_time
from shared import web
from shared.errors import BadRequest, NoSuchFile
from shared.strain.frame_files import FrameFile, files_between, whole_seconds

PREFIX = "/api/v2"
_RATES = {"4": 4096.0, "16": 16384.0}  # as clients name them, kHz
_FOREVER = Fraction(1 << 62)

Address = Callable[[web.Request, FrameFile], str]
"""The URL of a file for a request; HDF5 in GWOSC's layout."""


def routes(catalog: Catalog, address: Address, seconds: int) -> web.Routes:
    """The routes.

    Args:
        catalog: the streams.
        address: the URLs of files.
        seconds: files are cut at multiples of these.
    """

    def nothing(request: web.Request) -> web.Response:
        return _page([])

    def runs(request: web.Request) -> web.Response:
        return _page([_run(name, stream) for name, (_, stream) in _runs(catalog).items()])

    def run(request: web.Request) -> web.Response:
        name, *rest = request.path.removeprefix(f"{PREFIX}/runs/").split("/")
        known = _runs(catalog)
        if name not in known or rest not in ([], ["strain-files"]):
            raise NoSuchFile(f"there is no run {name!r}; {PREFIX}/runs lists the streams as runs")
        frametype, stream = known[name]
        if not rest:
            return web.json(_run(name, stream))
        return _page(list(_files(request, frametype, stream)))

    def _files(request: web.Request, name: tuple[str, str], stream: KnownStream) -> Iterator[dict[str, object]]:
        detector, _, rate = stream.key
        start, end = _span(request.query)
        if request.query.get("detector", detector) != detector or not _same_rate(request.query, rate):
            return
        covered = whole_seconds(stream.spans(), rate)
        for first, duration in files_between(covered, rate, seconds, math.floor(start), math.ceil(end)):
            yield {
                "detector": detector,
                "gps_start": first,
                "duration": duration,
                "sample_rate_kHz": next((int(k) for k, hertz in _RATES.items() if hertz == rate), rate / 1000),
                "hdf5_url": address(request, FrameFile(*name, first, duration, "hdf5")),
                "gwf_url": address(request, FrameFile(*name, first, duration, "gwf")),
            }

    return {
        ("GET", f"{PREFIX}/event-versions"): nothing,
        ("GET", f"{PREFIX}/catalogs"): nothing,
        ("GET", f"{PREFIX}/runs"): runs,
        ("GET", f"{PREFIX}/runs/*"): run,
    }


def _page(results: list[dict[str, object]]) -> web.Response:
    """All results on one page."""
    n = len(results)
    page = {"results_count": n, "results_per_page": n, "num_pages": 1, "next": None, "previous": None}
    return web.json({**page, "results": results})


def _runs(catalog: Catalog) -> dict[str, tuple[tuple[str, str], KnownStream]]:
    """Observatory and frametype, and stream, of each run."""
    found: dict[str, tuple[tuple[str, str], KnownStream]] = {}
    for name, stream in by_frametype(catalog()).items():
        # Clients cut a name that contains KHZ_R1 at its first underscore.
        run = name[1].replace("KHZ_R1", "KHZR1")
        found.setdefault(run if run not in found else f"{name[0]}_{run}", (name, stream))
    return found


def _run(name: str, stream: KnownStream) -> dict[str, object]:
    start, end = stream.extent
    return {
        "name": name,
        "gps_start": math.floor(start),
        "gps_end": math.ceil(end),
        "detectors": [stream.key[0]],
    }


def _span(query: Mapping[str, str]) -> tuple[Fraction, Fraction]:
    start = gps_time(query["start"], "start") if "start" in query else Fraction(0)
    return start, gps_time(query["stop"], "stop") if "stop" in query else _FOREVER


def _same_rate(query: Mapping[str, str], rate: float) -> bool:
    wanted = query.get("sample-rate", "")
    try:
        return not wanted or _RATES.get(wanted, float(wanted)) == rate
    except ValueError:
        raise BadRequest("`sample-rate` must be 4 or 16 for kHz, or the rate in Hz") from None
