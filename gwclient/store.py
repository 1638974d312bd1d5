"""Operations on a store, through whichever of its services the URL names."""

from __future__ import annotations

import asyncio
import hashlib
import re
import time
from collections.abc import Callable, Collection, Iterator
from typing import Any, TypeVar
from urllib.parse import quote, urlsplit, urlunsplit

import msgspec

from gwclient.errors import ClientError, Refused, Unreachable, WrongState
from gwclient.http import HttpClient, HttpResponse, NoResponse
from gwclient.urls import normalize

Row = dict[str, Any]
T = TypeVar("T")

# For each operation the routes of the Data Buffer, GlitchflowAPI and Datastore Logic, tried in this order.
_STAT = ("/stat", "/stats", "/bufstat")
_STATE = ("/dstat", "/desc", "/dsdesc")
_FILES = ("/dumpF", "/dumpbuf", "/dumpf")
_LOG = ("/dumpLogF", "/dumpflog")
_TRAIN = ("/train", "/freezeds")  # these freeze only if Datastore Logic's policy is met
_FREEZE = ("/upddsc", *_TRAIN)
_CLEAN = ("/cleanall", "/cleanbuf", "/flushbuf")
_TIMEOUT = 60.0  # seconds without a byte of a response
_ARCHIVES = ("/archives",)
_REMOTE = ("/remote",)
_PRODUCTS = ("/products",)
_DATASETS = ("/datasets",)
SEGMENT = "/segment"
_CHANNELS = ("/channels",)
_COVERAGE = ("/coverage",)
_BY_TIME = (*_CHANNELS, *_COVERAGE, "/strain", "/live")
_READINESS = ("/health/readiness",)
_PAGE = 10_000  # names or log entries in one request
_STREAM = ("/streamdata", "/sendF", "/stream")
_READ = (*_STAT, *_STATE, *_FILES, *_LOG, *_ARCHIVES, *_REMOTE, *_PRODUCTS, *_DATASETS, SEGMENT, *_BY_TIME)
_ROUTES = {*_READ, *_FREEZE, *_TRAIN, *_CLEAN, *_STREAM}
_SEGMENT_NAME = re.compile(r"gwb\d+\.json")
_MANIFEST = "manifest.json"
_BATCH = "datastore-batch"  # header


def base_of(url: str) -> str:
    """The URL without a route of the store, so that the URL for streaming serves for every operation.

    Raises:
        Refused: it is not a URL.
    """
    try:
        parts = urlsplit(normalize(url))
    except ValueError as error:
        raise Refused(f"not an HTTP URL: {error}") from None
    path = parts.path.rstrip("/")
    route = "/" + path.rpartition("/")[2]
    return urlunsplit((parts.scheme, parts.netloc, path.removesuffix(route) if route in _ROUTES else path, "", ""))


class Store:
    """A store over HTTP.

    Attributes:
        base: its URL without a route.
        batch: number of the batch that the last page of names or log entries belongs to; empty where the service does
            not say it.

    Every method raises:
        Unreachable: the store does not answer, or cannot serve at the moment.
        Refused: the store refuses the request, or does not have the route.
    """

    def __init__(self, url: str) -> None:
        self.base = base_of(url)
        self.batch = ""
        self._http = HttpClient(self.base, connections=1, timeout=_TIMEOUT)

    def stat(self) -> Row:
        """`{"n_itm", "buff_size", "dstatus", "user"}`, as far as the service has them."""
        counts, state = self._counts(), self._object("GET", _STATE)
        user = {"user": state["user"]} if "user" in state else {}
        return {**counts, "dstatus": state.get("dstatus", state.get("resp")), **user}

    def files(self, archive: Row | None = None) -> Iterator[str]:
        """Every file name, in order of arrival; of the open batch, or of an archive as `find_archives` gives it."""
        return self._pages(_FILES, _names, archive)

    def log(self, archive: Row | None = None) -> Iterator[Row]:
        """Every log entry; as `files`."""
        return self._pages(_LOG, _entries, archive)

    def channels(self, pattern: str, batch: str) -> Iterator[Row]:
        """The channels that a pattern matches, as /channels describes them, in `batch` or, if it is empty, in all."""
        return self._rows(_CHANNELS, "channels", {"channel": pattern, **({"batch": batch} if batch else {})})

    def coverage(self, query: dict[str, str]) -> Row:
        """The answer of /coverage to a query."""
        return self._object("GET", _COVERAGE, query=query)

    def freeze(self, user: str, token: str, policy: bool, batch: int | None = None) -> Row:
        """Freeze the batch; with `policy` only if the store holds enough.

        Raises:
            WrongState: the store does not hold enough yet, or another batch is open than `batch`.
        """
        body = {"user": user, "token": token}
        content = self._object("POST", _TRAIN if policy else _FREEZE, body, _meant(batch))
        if content.get("resp") == "WAITING" or "Waiting" in str(content.get("text", "")):
            raise WrongState("the store waits for more data before it freezes")
        return content

    def clean(self, batch: int | None = None) -> list[Row]:
        """Archive the batch and open the next one.

        Args:
            batch: number of the batch that is meant; by default the one that is open when the archives are listed.

        Raises:
            WrongState: another batch is open, so nothing was archived.

        Returns:
            The archive, as `archives` gives it; several, if others cleaned at the same time. Where the
            service does not list archives the name is None, and the counts, if it has them, are those of just before.
        """
        counts, listed = _or_none(self._counts) or {}, _or_none(self._archives)
        known = None if listed is None else _list(listed, "archives")
        if batch is None and listed is not None and isinstance(now := listed.get("open"), dict):
            batch = now.get("batch")
        content = self._object("POST", _CLEAN, {"msg": "gwclient"}, _meant(batch))
        if content.get("resp") == "FS ERR":
            raise Unreachable(str(content.get("body")))
        archives = None if known is None else _or_none(self.archives)
        before = {archive.get("name") for archive in known or []}
        added = [archive for archive in archives or [] if archive.get("name") not in before]
        return added or [{"name": None, **counts}]

    def _counts(self) -> Row:
        return self._object("GET", _STAT)

    def archives(self) -> list[Row]:
        """The newest archives, newest first, each as `{"name", "n_itm", "buff_size", …}`."""
        return _list(self._archives(), "archives")

    def find_archives(self, names: Collection[str] = ()) -> list[Row]:
        """The archives of these names, each as `archives` gives it; without names every one, oldest first.

        Raises:
            Refused: there is no such archive.
        """
        found = list(self._rows(_ARCHIVES, "archives", {"limit": str(_PAGE)}))
        if not names:
            return found[::-1]
        known = {row["name"]: row for row in found}
        if missing := [name for name in names if name not in known]:
            raise Refused(f"there is no archive {missing[0]!r}; `archives` prints the newest")
        return [known[name] for name in names]

    def _archives(self) -> Row:
        return self._object("GET", _ARCHIVES)

    def copy_of(self, archive: str) -> Row:
        """The copy of an archive: its `state`, its `objects`, and what is to be done with it, if anything."""
        return self._row(self._request("GET", (f"{_REMOTE[0]}/{quote(archive, safe='')}",)))

    def order_copy(self, archive: str, what: str) -> Row:
        """Have a copy read back and compared (`verify`), or an archive brought back to the volume (`restore`)."""
        return self._row(self._request("POST", (f"{_REMOTE[0]}/{quote(archive, safe='')}/{what}",)))

    def copy_part(self, archive: str, name: str, start: int, stop: int) -> bytes:
        """The bytes of an object of a copy from `start` to before `stop`."""
        return self._part(f"{_REMOTE[0]}/{quote(archive, safe='')}/{quote(name)}", start, stop)

    def products(self) -> tuple[str, list[Row]]:
        """The verdict on the batch's preprocessing, and its products, each as `{"name", "size", "url"}`."""
        content = self._object("GET", _PRODUCTS)
        return str(content.get("verdict")), _list(content, "products")

    def preproc(self) -> Row | None:
        """How far the batch's products have come, `{"state", "done", "of"}`; None where the service does not say."""
        content = _or_none(lambda: self._object("GET", _PRODUCTS)) or {}
        made = content.get("preproc")
        return {key: made.get(key) for key in ("state", "done", "of")} if isinstance(made, dict) else None

    def get(self, name: str) -> bytes:
        """The content of a segment or of a product, whose checksum is verified.

        Args:
            name: of a segment (`gwb….json`), or of a product, which may lie in a folder (`V1-…/spectrogram.png`).

        Raises:
            Refused: there is no such name.
            Unreachable: what arrived is not what the manifest lists; another attempt may succeed.
        """
        if _SEGMENT_NAME.fullmatch(name):
            return self._request("GET", (SEGMENT,), query={"name": name}).body
        if name.startswith("/") or {"", ".", ".."} & set(name.split("/")):
            raise Refused(f"{name!r} is no name of a segment or product; `files` and `products` print them")
        content = self._product(name)
        if name != _MANIFEST:
            manifest = msgspec.json.decode(self._product(_MANIFEST))
            sums = {file["name"]: file["sha256"] for file in manifest["files"]}
            if sums.get(name) != hashlib.sha256(content).hexdigest():
                raise Unreachable(f"{name}: the checksum is not that of the manifest; get it again")
        return content

    def make_dataset(self, request: bytes) -> Row:
        """Request a training set; the answer has its `state`, and is the manifest if the set is there."""
        return self._row(self._request("POST", _DATASETS, msgspec.Raw(request)))

    def datasets(self) -> list[Row]:
        """The training sets, and those that are being made, each with its `name` and `state`."""
        return _list(self._object("GET", _DATASETS), "datasets")

    def dataset(self, name: str) -> Row:
        """The manifest of a training set, or the progress of one that is not done."""
        return self._row(self._request("GET", (f"{_DATASETS[0]}/{quote(name, safe='')}",)))

    def dataset_part(self, name: str, file: str, start: int, stop: int) -> bytes:
        """The bytes of a training set's file from `start` to before `stop`; the whole file if `stop` is 0."""
        return self._part(f"{_DATASETS[0]}/{quote(name, safe='')}/{quote(file)}", start, stop)

    def _part(self, route: str, start: int, stop: int) -> bytes:
        headers = {"Range": f"bytes={start}-{stop - 1}"} if stop else {}
        response = self._request("GET", (route,), headers=headers)
        if stop and (response.status != 206 or len(response.body) != stop - start):
            raise Unreachable(f"{route}: {stop - start} bytes were asked for, {len(response.body)} came; get it again")
        return response.body

    def _row(self, response: HttpResponse) -> Row:
        content = response.json()
        if not isinstance(content, dict):
            raise Unreachable(f"{self.base}: the answer cannot be read")
        return content

    def ping(self) -> Row:
        """`{"url", "status", "ms"}` of a store that is ready."""
        began = time.monotonic()
        self._request("GET", _READINESS)
        return {"url": self.base, "status": "ready", "ms": round((time.monotonic() - began) * 1000, 1)}

    def _product(self, name: str) -> bytes:
        return self._request("GET", (f"{_PRODUCTS[0]}/{quote(name)}",)).body

    def _rows(self, routes: tuple[str, ...], key: str, query: dict[str, str]) -> Iterator[Row]:
        """The rows under `key` of all pages, each of which names the next one."""
        while True:
            page = self._object("GET", routes, query=query)
            yield from _list(page, key)
            if not page.get("next"):
                return
            query = {**query, "after": str(page["next"])}

    def _pages(self, routes: tuple[str, ...], items: Callable[[object], list[T]], archive: Row | None) -> Iterator[T]:
        query = {"limit": str(_PAGE)}
        if archive is not None:
            query |= {"archive": str(archive["name"]), "batch": str(archive.get("batch", ""))}
        while True:
            response = self._request("GET", routes, query=query)
            page = items(_content(response))
            self.batch = response.headers.get(_BATCH, "")
            if archive is not None and self.batch != query["batch"]:  # a service that does not know the parameter
                raise Refused(f"{self.base} does not list what is in an archive; use the URL of the store itself")
            if self.batch:  # then the store refuses the next page, if it would be another batch's
                query["batch"] = self.batch
            yield from page
            # A service without pages sends everything at once.
            if len(page) != _PAGE:
                return
            last: Any = page[-1]
            query["after"] = last if isinstance(last, str) else last["name"]

    def _object(
        self, method: str, routes: tuple[str, ...], body: object = None, query: dict[str, str] | None = None
    ) -> dict[str, object]:
        content = _content(self._request(method, routes, body, query))
        return content if isinstance(content, dict) else {"text": content}

    def _request(
        self,
        method: str,
        routes: tuple[str, ...],
        body: object = None,
        query: dict[str, str] | None = None,
        headers: dict[str, str] | None = None,
    ) -> HttpResponse:
        """The first response that is not 404, if it is a success."""
        reasons = []
        for route in routes:
            response = self._send(method, route, body, query, headers or {})
            if 200 <= response.status < 300:
                return response
            if response.status != 404:
                kind: type[ClientError] = Refused
                if response.status >= 500 or response.status == 429:
                    kind = Unreachable
                elif method == "POST" and code_of(response) == "ERRBATCH":
                    kind = WrongState
                raise kind(f"{self.base}{route}: {response.explain()}")
            reasons.append(f"{route} ({response.explain()})")
        raise Refused(f"{self.base} does not serve {', '.join(reasons)}")

    def _send(
        self, method: str, route: str, body: object, query: dict[str, str] | None, more: dict[str, str]
    ) -> HttpResponse:
        content = None if body is None else msgspec.json.encode(body)
        headers = {"Content-Type": "application/json", **more}
        try:
            return asyncio.run(self._http.request(method, self.base + route, content, headers=headers, query=query))
        except NoResponse as error:
            raise Unreachable(str(error)) from None


def _meant(batch: int | None) -> dict[str, str] | None:
    """The query that has the store do nothing if another batch is open."""
    return None if batch is None else {"batch": str(batch)}


def _or_none(read: Callable[[], T]) -> T | None:
    """The result of `read`; None if it fails, such as for a service without the route or a token without the scope."""
    try:
        return read()
    except ClientError:
        return None


def _content(response: HttpResponse) -> object:
    content = response.json() if response.body else []
    return response.text if content is None else content


def code_of(response: HttpResponse) -> str:
    """The code of the error that a response carries; empty if there is none."""
    content = response.json()
    return str(content.get("code", "")) if isinstance(content, dict) else ""


def _list(content: dict[str, object], key: str) -> list[Row]:
    rows = content.get(key)
    return rows if isinstance(rows, list) else []


def _names(page: object) -> list[str]:
    return (page.get("nmlist") or []) if isinstance(page, dict) else []


def _entries(page: object) -> list[Row]:
    return page if isinstance(page, list) else []


def watch(
    store: Store,
    report: Callable[[Row], None],
    warn: Callable[[str], None],
    *,
    interval: float,
    until: str,
    timeout: float,
) -> None:
    """Report counts and state whenever they change, until the store is `frozen`, `open`, or holds `until` bytes.

    A store that does not answer, such as one that restarts, is waited for.

    Args:
        store: the store.
        report: called with counts and state.
        warn: called with a text when the store stops answering.
        interval: seconds between two looks.
        until: the state, or the number of bytes; empty for ever.
        timeout: seconds without an answer after which to give up.

    Raises:
        Unreachable: the store did not answer for `timeout` seconds.
    """
    before: Row | None = None
    failing_since: float | None = None
    while True:
        try:
            now = store.stat()
        except Unreachable as error:
            if failing_since is None:
                failing_since, before = time.monotonic(), None
                warn(f"{error}; trying again for {timeout:g} s")
            if time.monotonic() - failing_since >= timeout:
                raise
            time.sleep(interval)
            continue
        failing_since = None
        if now.get("dstatus") == "FROZEN" and (made := store.preproc()) is not None:
            now["preproc"] = made
        if now != before:
            report(now)
            before = now
        frozen = now.get("dstatus") == "FROZEN"
        if (until == "frozen" and frozen) or (until == "open" and not frozen):
            return
        if until.isdecimal() and int(str(now.get("buff_size", 0))) >= int(until):
            return
        time.sleep(interval)
