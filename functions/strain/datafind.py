"""gwdatafind's protocol: which files hold a frametype's strain. For `gw_data_find`, gwpy's `find` and what uses them.

Source: gwdatafind 2.1, APIs v1 and ldr. All answers are JSON. An unknown frametype has empty lists.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping
from fractions import Fraction

import msgspec

from functions.strain.answers import EXTENSION, FRAMETYPE, OBSERVATORY, SPAN
from functions.strain.parameters import gps_time
from functions.strain.streams import Catalog
from shared import web
from shared.domain.frame_names import EXTENSIONS, FrameFile, Key, clipped, files_between, frametypes, whole_seconds
from shared.errors import BadRequest, NoSuchFile
from shared.web.bodies import JsonObject

PREFIXES = ("/api/v1", "/LDR/services/data/v1", "/services/data/v1")

_VERSION = {"version": "2.4.0", "api_versions": ["v1", "ldr"]}  # of gwdatafind-server, which answers alike
_MAX_MATCH = 256  # characters
_PATTERN = re.compile(r"[*+?()\[\]{}|^$]")
_FOREVER = 1 << 62

Address = Callable[[web.Request, str], Callable[[FrameFile], list[str]]]
"""For a request and a type of URLs (`file`, `http`, `https`, or all if it is empty): what gives the URLs of a file."""


def routes(catalog: Catalog, address: Address, seconds: int) -> web.Routes:
    """The routes of all APIs.

    Args:
        catalog: the streams.
        address: the URLs of files.
        seconds: files are cut at multiples of these.
    """
    finder = _Finder(catalog, address, seconds)

    @web.describe("gwdatafind: the observatories", EXTENSION, answer=list[str], below="{ext}.json")
    @web.describe(
        "gwdatafind: the frametypes of an observatory", EXTENSION, OBSERVATORY, answer=list[str],
        below="{ext}/{observatory}.json",
    )  # fmt: skip
    @web.describe(
        "gwdatafind: URLs of files", EXTENSION, OBSERVATORY, FRAMETYPE, SPAN, answer=list[str],
        below="{ext}/{observatory}/{frametype}/{span}.json",
    )  # fmt: skip
    @web.describe(
        "gwdatafind: whole seconds that are stored", EXTENSION, OBSERVATORY, FRAMETYPE, SPAN,
        answer=list[list[int]], below="{ext}/{observatory}/{frametype}/segments/{span}.json",
    )  # fmt: skip
    @web.describe(
        "gwdatafind: the latest file", EXTENSION, OBSERVATORY, FRAMETYPE, answer=list[str],
        below="{ext}/{observatory}/{frametype}/latest.json",
    )  # fmt: skip
    def find(request: web.Request) -> web.Response:
        prefix = next(prefix for prefix in PREFIXES if request.path.startswith(f"{prefix}/"))
        return finder.answer(request, request.path.removeprefix(f"{prefix}/"))

    @web.describe("gwdatafind: versions", answer=JsonObject)
    def version(request: web.Request) -> web.Response:
        return web.json(_VERSION)

    return {("GET", "/api/version"): version, **{("GET", f"{prefix}/*"): find for prefix in PREFIXES}}


class _Finder:
    def __init__(self, catalog: Catalog, address: Address, seconds: int) -> None:
        self._catalog = catalog
        self._address = address
        self._seconds = seconds

    def answer(self, request: web.Request, path: str) -> web.Response:
        """Answer by the path below the prefix: `<ext>/<observatory>/<frametype>/...`, with `.json` at its end."""
        extension, *parts = path.removesuffix(".json").split("/")
        if extension not in EXTENSIONS:
            raise NoSuchFile(f"there are no files {extension!r}: choose one of {', '.join(EXTENSIONS)}")
        match parts:
            case []:
                return web.json(sorted({observatory for observatory, _ in self._names()}))
            case [observatory]:
                return web.json(self._frametypes(observatory))
            case [observatory, frametype, "segments"]:
                return web.json(self._times(observatory, frametype, 0, _FOREVER))
            case [observatory, frametype, "segments", span]:
                return web.json(self._times(observatory, frametype, *_whole(span)))
            case [observatory, frametype, "latest", *urltype] if len(urltype) <= 1:
                files = self._latest(observatory, frametype, extension)
            case [observatory, frametype, name] if "," not in name:
                urltype, files = [], self._named(observatory, frametype, name, extension)
            case [observatory, frametype, span, *urltype] if len(urltype) <= 1:
                files = self._files(observatory, frametype, extension, *_whole(span))
            case _:
                raise NoSuchFile("the path must be <ext>/<observatory>/<frametype>/<start>,<end>.json")
        wanted, urls = _substring(request.query.get("match", "")), self._address(request, "".join(urltype))
        return web.json_list(msgspec.json.encode(url) for file in files for url in urls(file) if wanted in url)

    def _names(self) -> Mapping[tuple[str, str], Key]:
        with self._catalog() as streams:
            return frametypes(streams.known())

    def _frametypes(self, observatory: str) -> list[str]:
        names = self._names()
        if observatory != "all" and observatory not in {one for one, _ in names}:
            raise BadRequest(f"there is no strain of observatory {observatory!r}")
        return sorted({frametype for one, frametype in names if observatory in ("all", one)})

    def _times(self, observatory: str, frametype: str, start: int, end: int) -> list[tuple[int, int]]:
        """Whole seconds that a frametype covers."""
        return self._covered(observatory, frametype, start, end)[0]

    def _covered(self, observatory: str, frametype: str, start: int, end: int) -> tuple[list[tuple[int, int]], float]:
        """The same, and the samples per second."""
        with self._catalog() as streams:
            key = frametypes(streams.known()).get((observatory, frametype))
            if key is None:
                return [], 1.0
            spans = streams.spans(key, Fraction(start), Fraction(end))
            return list(clipped(whole_seconds(spans, key[2]), start, end)), key[2]

    def _files(self, observatory: str, frametype: str, extension: str, start: int, end: int) -> Iterable[FrameFile]:
        if start >= end:
            return []
        begin, stop = start - start % self._seconds, end + -end % self._seconds  # the files at the ends are whole
        covered, rate = self._covered(observatory, frametype, begin, stop)
        return (
            FrameFile(observatory, frametype, first, duration, extension)
            for first, duration in files_between(covered, rate, self._seconds, start, end)
        )

    def _latest(self, observatory: str, frametype: str, extension: str) -> Iterable[FrameFile]:
        covered = self._times(observatory, frametype, 0, _FOREVER)
        last = covered[-1][1] if covered else 0
        return self._files(observatory, frametype, extension, max(last - 1, 0), last)

    def _named(self, observatory: str, frametype: str, name: str, extension: str) -> Iterable[FrameFile]:
        file = FrameFile.parse(name)
        if file is None or (file.observatory, file.frametype, file.extension) != (observatory, frametype, extension):
            return []
        end = file.start + file.duration
        return [file] if self._times(observatory, frametype, file.start, end) == [(file.start, end)] else []


def _whole(span: str) -> tuple[int, int]:
    """The whole seconds that `<start>,<end>` touches."""
    start, comma, end = span.partition(",")
    if not comma:
        raise BadRequest("the time must be <start>,<end> in GPS seconds, as 1126259446,1126259478")
    return math.floor(gps_time(start, "start")), math.ceil(gps_time(end, "end"))


def _substring(match: str) -> str:
    """The text that URLs must contain. A regular expression from outside could take for ever, so it is plain text.

    Raises:
        BadRequest: it is an expression, or too long.
    """
    text = match.removeprefix(".*").removesuffix(".*").replace("\\.", ".")
    if len(text) > _MAX_MATCH or _PATTERN.search(text):
        raise BadRequest(f"`match` must be a part of the URL as plain text, of at most {_MAX_MATCH} characters")
    return text
