"""DQSEGDB's protocol: which times have strain, as data-quality flags. For dqsegdb2 and gwpy's `DataQualityFlag.query`.

Source: LIGO-T1300625, section 5.1, as dqsegdb2 1.3 asks. Each stream has one flag, `<channel>-AVAILABLE`, of version 1.
"""

from __future__ import annotations

from collections.abc import Mapping

from functions.strain.parameters import gps_time
from functions.strain.streams import Catalog, StreamIndex
from shared import web
from shared.domain.frame_names import Key, Span, frametypes
from shared.errors import BadRequest, NoSuchFile
from shared.web.bodies import JsonObject

_SUFFIX = "-AVAILABLE"
_DETECTOR = web.Parameter("detector", "such as V1", {"type": "string"}, "V1", where="path")
_FLAG = web.Parameter("flag", "as /dq lists them", {"type": "string"}, f"EXAMPLE_4Hz{_SUFFIX}", where="path")
_ABOUT: dict[str, object] = {"query_information": {}}


def routes(catalog: Catalog) -> web.Routes:
    """The routes, by the streams."""

    @web.describe("DQSEGDB: the detectors", answer=JsonObject)
    def detectors(request: web.Request) -> web.Response:
        with catalog() as streams:
            return web.json({"Ifos": sorted({detector for detector, _, _ in streams.known()}), **_ABOUT})

    @web.describe("DQSEGDB: the flags of a detector", _DETECTOR, answer=JsonObject, below="{detector}")
    @web.describe("DQSEGDB: versions of a flag", _DETECTOR, _FLAG, answer=JsonObject, below="{detector}/{flag}")
    @web.describe(
        "DQSEGDB: times of which strain is stored", _DETECTOR, _FLAG, answer=JsonObject,
        below="{detector}/{flag}/1",
    )  # fmt: skip
    def below(request: web.Request) -> web.Response:
        detector, *parts = request.path.removeprefix("/dq/").split("/")
        with catalog() as streams:
            return web.json(_answer(streams, detector, parts, request.query))

    return {("GET", "/dq"): detectors, ("GET", "/dq/*"): below}


def _answer(streams: StreamIndex, detector: str, parts: list[str], query: Mapping[str, str]) -> dict[str, object]:
    """The answer for a path below a detector: `<flag>/<version>/<part>`, each may be missing."""
    flags = _flags(streams, detector)
    if not flags:
        raise NoSuchFile(f"there is no strain of detector {detector!r}; /dq lists the detectors")
    match parts:
        case []:
            return {"results": sorted(flags), **_ABOUT}
        case [name, *version] if name not in flags or (version and version[0] != "1"):
            raise NoSuchFile(f"there is no version 1 of flag {name!r}; /dq/{detector} lists the flags")
        case [name]:
            return {"version": [1], "resource_type": "version", **_ABOUT}
        case [name, _]:
            included = query.get("include", "known,active,metadata").split(",")
        case [name, _, "active" | "known" | "metadata" as part]:
            included = [part]
        case _:
            raise NoSuchFile("a flag has `active`, `known` and `metadata`")
    return _flag(streams, flags[name], name, query, included)


def _flags(streams: StreamIndex, detector: str) -> dict[str, Key]:
    """The flags of a detector: its frametypes without the detector, with what they tell."""
    return {
        f"{frametype.removeprefix(f'{detector}_')}{_SUFFIX}": key
        for (_, frametype), key in frametypes(streams.known()).items()
        if key[0] == detector
    }


def _flag(
    streams: StreamIndex, key: Key, name: str, query: Mapping[str, str], included: list[str]
) -> dict[str, object]:
    start, end = streams.extent(key)
    start = gps_time(query["s"], "s") if "s" in query else start
    end = gps_time(query["e"], "e") if "e" in query else end
    if start >= end:
        raise BadRequest("`e` must be later than `s`")
    # The store knows for every time whether it has strain: what is not active is missing.
    found: dict[str, object] = {"ifo": key[0], "name": name, "version": 1, **_ABOUT}
    if "known" in included:
        found["known"] = [_numbers((start, end))]
    if "active" in included:
        found["active"] = [_numbers((max(a, start), min(b, end))) for a, b in streams.spans(key, start, end)]
    if "metadata" in included or "known" in included:
        found["metadata"] = {
            "flag_description": f"strain of {key[1]} at {key[2]:g} Hz is stored",
            "flag_comment": "",
            "provenance_url": "",
            "deactivated": False,
            "active_indicates_ifo_badness": False,
        }
    return found


def _numbers(span: Span) -> list[int | float]:
    return [int(time) if time.denominator == 1 else float(time) for time in span]
