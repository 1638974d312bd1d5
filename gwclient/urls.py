"""URLs of stores as users write them."""

from __future__ import annotations

from urllib.parse import urlsplit


def normalize(url: str) -> str:
    """The URL without a trailing slash, with `http://` if there is no scheme.

    Raises:
        ValueError: it is not an HTTP URL.
    """
    full = (url if "://" in url else f"http://{url}").rstrip("/")
    parts = urlsplit(full)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.port == 0 or not full.isprintable():
        raise ValueError(url)
    return full
