"""Operations on a store, through whichever of its services the URL names."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import msgspec

from gwclient.errors import Refused, Unreachable, WrongState
from gwclient.http import HttpClient, HttpResponse, NoResponse, normalize

# For each operation the routes of the Data Buffer, GlitchflowAPI and Datastore Logic, tried in this order.
_STAT = ("/stat", "/stats", "/bufstat")
_STATE = ("/dstat", "/desc", "/dsdesc")
_FILES = ("/dumpF", "/dumpbuf", "/dumpf")
_LOG = ("/dumpLogF", "/dumpflog")
_TRAIN = ("/train", "/freezeds")  # these freeze only if Datastore Logic's policy is met
_FREEZE = ("/upddsc", *_TRAIN)
_CLEAN = ("/cleanall", "/cleanbuf", "/flushbuf")
_TIMEOUT = 60.0  # seconds without a byte of a response
_PAGE = 10_000  # names or log entries in one request
_ROUTES = {*_STAT, *_STATE, *_FILES, *_LOG, *_FREEZE, *_TRAIN, *_CLEAN, "/streamdata", "/sendF", "/stream"}


def base_of(url: str) -> str:
    """The URL without a route of the store, so that the URL for streaming serves for every operation.

    Raises:
        Refused: it is not a URL.
    """
    try:
        parts = urlsplit(normalize(url))
    except ValueError as error:
        raise Refused(f"{url!r} is not a URL: {error}") from None
    path = parts.path.rstrip("/")
    route = "/" + path.rpartition("/")[2]
    return urlunsplit((parts.scheme, parts.netloc, path.removesuffix(route) if route in _ROUTES else path, "", ""))


class Store:
    """A store over HTTP.

    Every method raises:
        Unreachable: the store does not answer, or cannot serve at the moment.
        Refused: the store refuses the request, or does not have the route.
    """

    def __init__(self, url: str) -> None:
        self._base = base_of(url)
        self._http = HttpClient(self._base, connections=1, timeout=_TIMEOUT)

    def stat(self) -> dict[str, object]:
        """`{"n_itm", "buff_size", "dstatus", "user"}`, as far as the service has them."""
        counts, state = self._object("GET", _STAT), self._object("GET", _STATE)
        user = {"user": state["user"]} if "user" in state else {}
        return {**counts, "dstatus": state.get("dstatus", state.get("resp")), **user}

    def files(self, each: Callable[[str], None]) -> None:
        """Call `each` with every file name, in order of arrival."""
        self._pages(_FILES, _names, each)

    def log(self, each: Callable[[dict[str, object]], None]) -> None:
        """Call `each` with every log entry, in order of arrival."""
        self._pages(_LOG, _entries, each)

    def freeze(self, user: str, token: str, policy: bool) -> object:
        """Freeze the batch; with `policy` only if the store holds enough.

        Raises:
            WrongState: the store does not hold enough yet.
        """
        content = self._object("POST", _TRAIN if policy else _FREEZE, {"user": user, "token": token})
        if content.get("resp") == "WAITING" or "Waiting" in str(content.get("text", "")):
            raise WrongState("the store waits for more data before it freezes")
        return content

    def clean(self) -> object:
        """Archive the batch and open the next one."""
        content = self._object("POST", _CLEAN, {"msg": "gwclient"})
        if content.get("resp") == "FS ERR":
            raise Unreachable(str(content.get("body")))
        return content

    def _pages(
        self, routes: tuple[str, ...], items: Callable[[object], list[Any]], each: Callable[[Any], object]
    ) -> None:
        query = {"limit": str(_PAGE)}
        while True:
            page = items(self._request("GET", routes, query=query))
            for item in page:
                each(item)
            # A service without pages sends everything at once.
            if len(page) != _PAGE:
                return
            query["after"] = page[-1] if isinstance(page[-1], str) else page[-1]["name"]

    def _object(self, method: str, routes: tuple[str, ...], body: object = None) -> dict[str, object]:
        content = self._request(method, routes, body)
        return content if isinstance(content, dict) else {"text": content}

    def _request(
        self, method: str, routes: tuple[str, ...], body: object = None, query: dict[str, str] | None = None
    ) -> object:
        for route in routes:
            response = self._send(method, route, body, query)
            if response.status == 404:
                continue
            if 200 <= response.status < 300:
                content = response.json() if response.body else []
                return response.text if content is None else content
            kind = Unreachable if response.status >= 500 or response.status == 429 else Refused
            raise kind(f"{self._base}{route}: {response.explain()}")
        raise Refused(f"{self._base} serves none of {', '.join(routes)}")

    def _send(self, method: str, route: str, body: object, query: dict[str, str] | None) -> HttpResponse:
        content = None if body is None else msgspec.json.encode(body)
        headers = {"Content-Type": "application/json"}
        try:
            return asyncio.run(self._http.request(method, self._base + route, content, headers=headers, query=query))
        except NoResponse as error:
            raise Unreachable(str(error)) from None


def _names(page: object) -> list[str]:
    return (page.get("nmlist") or []) if isinstance(page, dict) else []


def _entries(page: object) -> list[dict[str, object]]:
    return page if isinstance(page, list) else []


def watch(store: Store, report: Callable[[dict[str, object]], None], interval: float, until: str) -> None:
    """Report counts and state whenever they change, until the store is `frozen`, `open`, or holds `until` bytes."""
    before: dict[str, object] | None = None
    while True:
        now = store.stat()
        if now != before:
            report(now)
            before = now
        frozen = now.get("dstatus") == "FROZEN"
        if (until == "frozen" and frozen) or (until == "open" and not frozen):
            return
        if until.isdecimal() and int(str(now.get("buff_size", 0))) >= int(until):
            return
        time.sleep(interval)
