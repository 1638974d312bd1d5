"""What operators ask and tell a store, whichever of its services the URL names: it finds the route that is there."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import httpx

from client import credentials
from client.errors import Refused, Unreachable, WrongState

# For every question the routes of the Data Buffer, GlitchflowAPI and Datastore Logic, in this order.
_STAT = ("/stat", "/stats", "/bufstat")
_STATE = ("/dstat", "/desc", "/dsdesc")
_FILES = ("/dumpF", "/dumpbuf", "/dumpf")
_LOG = ("/dumpLogF", "/dumpflog")
_TRAIN = ("/train", "/freezeds")  # these ask Datastore Logic whether there is enough
_FREEZE = ("/upddsc", *_TRAIN)
_CLEAN = ("/cleanall", "/cleanbuf", "/flushbuf")
_PAGE = 10_000  # names or log entries in one request
_KNOWN = {*_STAT, *_STATE, *_FILES, *_LOG, *_FREEZE, *_TRAIN, *_CLEAN, "/streamdata", "/sendF", "/stream"}


def base_of(url: str) -> str:
    """The URL without a route of the store, so that the URL people stream to serves for everything."""
    parts = urlsplit(url)
    path = parts.path.rstrip("/")
    route = "/" + path.rpartition("/")[2]
    return urlunsplit((parts.scheme, parts.netloc, path.removesuffix(route) if route in _KNOWN else path, "", ""))


class Store:
    """A store over HTTP.

    Raises, from every method:
        Unreachable: it does not answer, or cannot now.
        Refused: it does not serve this.
    """

    def __init__(self, url: str) -> None:
        self._base = base_of(url)
        self._http = httpx.Client(timeout=60.0, headers=credentials.headers())

    def stat(self) -> dict[str, object]:
        """`{"n_itm", "buff_size", "dstatus", "user"}`, as far as the service tells."""
        counts, state = self._ask("GET", _STAT), self._ask("GET", _STATE)
        return {**counts, "dstatus": state.get("dstatus", state.get("resp")), **_without_token(state)}

    def files(self, each: Callable[[str], None]) -> None:
        """Call `each` with every file name, in order of arrival."""
        self._pages(_FILES, _names, each)

    def log(self, each: Callable[[dict[str, object]], None]) -> None:
        """Call `each` with every log entry, in order of arrival."""
        self._pages(_LOG, _entries, each)

    def freeze(self, user: str, token: str, policy: bool) -> object:
        """Freeze the batch; with `policy` only if the store holds enough.

        Raises:
            WrongState: it does not hold enough yet.
        """
        answer = self._ask("POST", _TRAIN if policy else _FREEZE, {"user": user, "token": token})
        if answer.get("resp") == "WAITING" or "Waiting" in str(answer.get("text", "")):
            raise WrongState("the store waits for more data before it freezes")
        return answer

    def clean(self) -> object:
        """File the batch away and open the next one."""
        answer = self._ask("POST", _CLEAN, {"msg": "gwclient"})
        if answer.get("resp") == "FS ERR":
            raise Unreachable(str(answer.get("body")))
        return answer

    def _pages(
        self, routes: tuple[str, ...], items: Callable[[object], list[Any]], each: Callable[[Any], object]
    ) -> None:
        query = {"limit": str(_PAGE)}
        while True:
            page = items(self._request("GET", routes, query=query))
            for item in page:
                each(item)
            # A service that knows no pages sends everything at once.
            if len(page) != _PAGE:
                return
            query["after"] = page[-1] if isinstance(page[-1], str) else page[-1]["name"]

    def _ask(self, method: str, routes: tuple[str, ...], body: object = None) -> dict[str, object]:
        content = self._request(method, routes, body)
        return content if isinstance(content, dict) else {"text": content}

    def _request(
        self, method: str, routes: tuple[str, ...], body: object = None, query: dict[str, str] | None = None
    ) -> object:
        for route in routes:
            try:
                answer = self._http.request(method, self._base + route, json=body, params=query)
            except (httpx.TransportError, httpx.InvalidURL, httpx.UnsupportedProtocol) as error:
                raise Unreachable(f"{self._base} does not answer: {error or type(error).__name__}") from None
            if answer.status_code == 404:
                continue
            if answer.is_success:
                return _content(answer)
            kind = Unreachable if answer.status_code >= 500 or answer.status_code == 429 else Refused
            raise kind(f"{self._base}{route}: {answer.status_code} {answer.text[:300]}")
        raise Refused(f"{self._base} serves none of {', '.join(routes)}")


def _content(answer: httpx.Response) -> object:
    try:
        return json.loads(answer.content) if answer.content else []
    except ValueError:
        return answer.text


def _names(page: object) -> list[str]:
    return (page.get("nmlist") or []) if isinstance(page, dict) else []


def _entries(page: object) -> list[dict[str, object]]:
    return page if isinstance(page, list) else []


def _without_token(state: dict[str, object]) -> dict[str, object]:
    return {"user": state["user"]} if "user" in state else {}


def watch(store: Store, say: Callable[[dict[str, object]], None], interval: float, until: str) -> None:
    """Say what the store holds whenever that changes, until it is `frozen` or `open`, or holds so many bytes."""
    before: dict[str, object] | None = None
    while True:
        now = store.stat()
        if now != before:
            say(now)
            before = now
        frozen = now.get("dstatus") == "FROZEN"
        if (until == "frozen" and frozen) or (until == "open" and not frozen):
            return
        if until.isdecimal() and int(str(now.get("buff_size", 0))) >= int(until):
            return
        time.sleep(interval)
