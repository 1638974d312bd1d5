"""Refusal of what web pages of other sites send, and of requests for foreign names, where authentication is off.

A browser sends requests for every page that its user visits, to loopback too. It names the page's site, in
`Sec-Fetch-Site` (Fetch Metadata) and `Origin` (Fetch); other clients send neither. A page can also have its own name
resolved to the store's address (DNS rebinding), and is then of the same site. Only `Host` shows that.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping

from shared.config import AuthConfig
from shared.errors import CrossSite, ForeignHost
from shared.web.cross_origin import CrossOrigin

_WITH_PORT = re.compile(r"(\[[^\]]*\]|[^:\[\]]+):[0-9]*")
_MAX_CACHED = 64
_MAX_SHOWN = 100  # characters of a header that an answer repeats


class SameOrigin:
    """Refuses requests that pages of other sites send.

    Args:
        config: names the further hosts of the store (ALLOWED_HOSTS).
        host: at which the store listens. On loopback, and with ALLOWED_HOSTS, no other names are served.
        readers: the sites whose pages may read (CORS_ORIGINS).
    """

    def __init__(self, config: AuthConfig, host: str, readers: CrossOrigin | None = None) -> None:
        self._allowed = frozenset(config.allowed_hosts)
        self._readers = readers
        self._any_host = config.mode(host) == "exposed" and not self._allowed
        self._accepted: set[str | None] = {None, ""}  # headers `Host`; HTTP/1.0 needs none

    def check(self, method: str, headers: Mapping[str, str]) -> None:
        """Check one request; header names are in lower case.

        Raises:
            ForeignHost: the store is not known by that name.
            CrossSite: a page of another site sends it.
        """
        host = headers.get("host")
        if host not in self._accepted and not self._any_host:
            self._check_host(str(host))
        if "sec-fetch-site" in headers or "origin" in headers:
            self._check_page(method, host, headers)

    def _check_host(self, host: str) -> None:
        if not (self._is_allowed(host) or _is_loopback(_name(host))):
            raise ForeignHost(
                f"{host[:_MAX_SHOWN]!r} is no name of this store; use localhost, or add it to ALLOWED_HOSTS"
            )
        if len(self._accepted) < _MAX_CACHED:
            self._accepted.add(host)

    def _check_page(self, method: str, host: str | None, headers: Mapping[str, str]) -> None:
        opens_page = headers.get("sec-fetch-mode") == "navigate" and headers.get("sec-fetch-dest") == "document"
        if opens_page and method in ("GET", "HEAD"):  # a link, whose answer the other page cannot read
            return
        if self._readers is not None and self._readers.may_read(method, headers):
            return
        if headers.get("sec-fetch-site") in ("cross-site", "same-site"):
            raise CrossSite("pages of other sites may not send requests to this store; open its own page")
        origin = headers.get("origin")
        if origin is None:
            return
        sender = origin.partition("://")[2]  # nothing for the origin `null`
        if not sender or not (sender.lower() == (host or "").lower() or self._is_allowed(sender)):
            raise CrossSite(
                f"the page at {origin[:_MAX_SHOWN]!r} may not send requests to this store; open its own page, or add "
                "the page's host to ALLOWED_HOSTS; for reading alone, its origin to CORS_ORIGINS"
            )

    def _is_allowed(self, host: str) -> bool:
        return host.lower() in self._allowed or _name(host) in self._allowed


def _name(host: str) -> str:
    """The host without its port, in lower case; IPv6 keeps its brackets."""
    found = _WITH_PORT.fullmatch(host)
    return (found[1] if found else host).lower()


def _is_loopback(name: str) -> bool:
    try:
        return name == "localhost" or ipaddress.ip_address(name.strip("[]")).is_loopback
    except ValueError:  # a name, even if it begins with 127
        return False
