"""DQSEGDB's protocol: which times have strain, as data-quality flags. For dqsegdb2 and gwpy's `DataQualityFlag.query`.

Source: LIGO-T1300625, section 5.1, as dqsegdb2 1.3 asks. Each stream has one flag, `<channel>-AVAILABLE`, of version 1.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from fractions import Fraction

from functions.strain.streams import Catalog, KnownStream, by_frametype, gps_time
from shared import web
from shared.errors import BadRequest, NoSuchFile
from shared.strain.frame_files import Span

_SUFFIX = "-AVAILABLE"
_ABOUT: dict[str, object] = {"query_information": {}}


def routes(catalog: Catalog) -> web.Routes:
    """The routes, by the streams."""

    def detectors(request: web.Request) -> web.Response:
        return web.json({"Ifos": sorted({stream.key[0] for stream in catalog()}), **_ABOUT})

    def below(request: web.Request) -> web.Response:
        detector, *parts = request.path.removeprefix("/dq/").split("/")
        flags = _flags(catalog, detector)
        if not flags:
            raise NoSuchFile(f"there is no strain of detector {detector!r}; /dq lists the detectors")
        if not parts:
            return web.json({"results": sorted(flags), **_ABOUT})
        name, *version = parts
        if name not in flags or (version and version[0] != "1"):
            raise NoSuchFile(f"there is no version 1 of flag {name!r}; /dq/{detector} lists the flags")
        match version[1:]:
            case []:
                if not version:
                    return web.json({"version": [1], "resource_type": "version", **_ABOUT})
                included = request.query.get("include", "known,active,metadata").split(",")
            case ["active" | "known" | "metadata" as included_one]:
                included = [included_one]
            case _:
                raise NoSuchFile("a flag has `active`, `known` and `metadata`")
        return web.json(_flag(detector, name, flags[name], request.query, included))

    return {("GET", "/dq"): detectors, ("GET", "/dq/*"): below}


def _flags(catalog: Catalog, detector: str) -> dict[str, KnownStream]:
    """The flags of a detector: its frametypes without the detector, with what they tell."""
    return {
        f"{frametype.removeprefix(f'{detector}_')}{_SUFFIX}": stream
        for (_, frametype), stream in by_frametype(catalog()).items()
        if stream.key[0] == detector
    }


def _flag(
    detector: str, name: str, stream: KnownStream, query: Mapping[str, str], included: list[str]
) -> dict[str, object]:
    start = gps_time(query["s"], "s") if "s" in query else stream.extent[0]
    end = gps_time(query["e"], "e") if "e" in query else stream.extent[1]
    if start >= end:
        raise BadRequest("`e` must be later than `s`")
    # The store knows for every time whether it has strain: what is not active is missing.
    found: dict[str, object] = {"ifo": detector, "name": name, "version": 1, **_ABOUT}
    if "known" in included:
        found["known"] = [_numbers((start, end))]
    if "active" in included:
        found["active"] = [_numbers(span) for span in _clipped(stream.spans(), start, end)]
    if "metadata" in included or "known" in included:
        found["metadata"] = {
            "flag_description": f"strain of {stream.key[1]} at {stream.key[2]:g} Hz is stored",
            "flag_comment": "",
            "provenance_url": "",
            "deactivated": False,
            "active_indicates_ifo_badness": False,
        }
    return found


def _clipped(spans: Iterable[Span], start: Fraction, end: Fraction) -> Iterator[Span]:
    for first, last in spans:
        low, high = max(first, start), min(last, end)
        if low < high:
            yield low, high


def _numbers(span: Span) -> list[int | float]:
    return [int(time) if time.denominator == 1 else float(time) for time in span]
