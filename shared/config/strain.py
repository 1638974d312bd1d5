"""Settings of reading strain: addresses of files in listings, and readers of what arrives."""

from __future__ import annotations

import os
from dataclasses import dataclass

from shared.config.env import ABSOLUTE_PATH, COUNT, TEXT, URL, Environment, Kind, read, setting


def _file_urls(text: str) -> str:
    return text if text in ("http", "none") else str(ABSOLUTE_PATH.convert(text))


@dataclass(frozen=True, kw_only=True)
class StrainConfig:
    """How the field's clients find files, and how many may follow what arrives."""

    datafind_seconds: int = setting("DATAFIND_SECONDS", 64, COUNT, "files in listings are cut at multiples of these")
    datafind_file: str = setting(
        "DATAFIND_FILE",
        "http",
        Kind(_file_urls, "http, none, or a path that begins with / and goes nowhere else"),
        "URLs for gwdatafind's `file`: `http` URLs, `none`, or those of files below a path",
    )
    public_url: str = setting(
        "PUBLIC_URL", "", URL, "address of this store in listings; by default the one that a request came to"
    )
    signing_key: str = setting(
        "URL_SIGNING_KEY", "", TEXT, "file with a key of 32 characters or more, which signs the URLs in listings"
    )
    signed_seconds: int = setting("SIGNED_URL_SECONDS", 3600, COUNT, "seconds for which a signed URL is valid at least")
    live_readers: int = setting("LIVE_READERS", 64, COUNT, "readers of /live at once")
    live_backlog: int = setting(
        "LIVE_BACKLOG", 10_000, COUNT, "segments that a reader of /live may fall behind, once it has been up to date"
    )


def strain_from_env(env: Environment = os.environ) -> StrainConfig:
    """Read the settings.

    Raises:
        ConfigError: as `store_from_env`.
    """
    return read(StrainConfig, env)
