"""Pages of other sites that may read: CORS (Fetch, 3.2), for the origins that CORS_ORIGINS lists.

They may send GET and HEAD, without cookies. A browser asks before it sends such a request with further headers.
"""

from __future__ import annotations

from collections.abc import Mapping

from shared.web.messages import Request, Response

_METHODS = ("GET", "HEAD")
_HEADERS = "Authorization, If-None-Match, If-Range, Range, X-Request-ID"
_EXPOSED = (
    "Accept-Ranges, Content-Disposition, Content-Range, Datastore-Batch, ETag, Link, Retry-After, X-GPS-Start, "
    "X-Request-ID, X-Sample-Rate, X-Samples"
)
_MAX_AGE = "600"  # seconds for which a browser need not ask again


class CrossOrigin:
    """Grants reading to the pages of some origins.

    Args:
        origins: as browsers send them, such as https://lab.example.org.
    """

    def __init__(self, origins: tuple[str, ...]) -> None:
        self._origins = frozenset(origins)

    def may_read(self, method: str, headers: Mapping[str, str]) -> bool:
        """Whether a page of a listed origin sends this request, and it reads, or asks whether it may read."""
        return headers.get("origin") in self._origins and (method in _METHODS or self.is_preflight(method, headers))

    def is_preflight(self, method: str, headers: Mapping[str, str]) -> bool:
        """Whether a browser asks if a page of a listed origin may send a request that reads."""
        wanted = headers.get("access-control-request-method")
        return method == "OPTIONS" and wanted in _METHODS and headers.get("origin") in self._origins

    def headers(self, method: str, headers: Mapping[str, str]) -> dict[str, str]:
        """Headers of the response that let the page read it."""
        if not self.may_read(method, headers):
            return {}
        return {"Access-Control-Allow-Origin": headers["origin"], "Access-Control-Expose-Headers": _EXPOSED}

    @staticmethod
    def grant(request: Request) -> Response:
        """Answer the browser's question."""
        allowed = {
            "Access-Control-Allow-Methods": ", ".join(_METHODS),
            "Access-Control-Allow-Headers": _HEADERS,
            "Access-Control-Max-Age": _MAX_AGE,
        }
        return Response(status=204, headers=allowed)
