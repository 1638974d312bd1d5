"""URLs of files in listings, signed where the store has a key for that.

A signed URL, `/signed/<expiry>.<HMAC>/data/...`, is its own credentials. gwpy sends none when it downloads what it has
found. The signature stands before the file's name, because clients read times and formats from its end.
"""

from __future__ import annotations

import dataclasses
import hashlib
import hmac
import re
import time
from collections.abc import Callable

from functions.strain.streams import base_url
from shared import auth, web
from shared.config import StrainConfig
from shared.config.reloading import ReloadingFile
from shared.domain.frame_names import FrameFile
from shared.errors import Unauthenticated

DATA = "/data"
GWOSC_DATA = "/data/gwosc"  # HDF5 in GWOSC's layout
_SIGNED = "/signed"
_MIN_KEY = 32  # characters
_SIGNATURE = re.compile(r"(\d{1,12})\.([0-9a-f]{64})", re.ASCII)


class FileUrls:
    """URLs of files. Safe to use from several threads.

    Raises, when made:
        ConfigError: the file with the key cannot be used.
    """

    def __init__(self, config: StrainConfig, clock: Callable[[], float] = time.time) -> None:
        self._config = config
        self._clock = clock
        self._key = ReloadingFile("URL_SIGNING_KEY", config.signing_key, _key) if config.signing_key else None

    def of_type(self, request: web.Request, urltype: str) -> Callable[[FrameFile], list[str]]:
        """What gives the URLs of files: of one type of gwdatafind's, `file`, `http` or `https`, or all if it is empty.

        Raises:
            BadRequest: the request names no host.
        """
        base, place = base_url(request, self._config.public_url), self._config.datafind_file
        if urltype == "file" and place not in ("http", "none"):
            return lambda file: [f"file://localhost{place.rstrip('/')}/{file.path}"]
        # gwpy asks for `file` by default, and opens what it gets without a look at the scheme.
        answered = {"", base.partition(":")[0]} | ({"file"} if place == "http" else set())
        if urltype not in answered:
            return lambda file: []
        return lambda file: [base + self._signed(f"{DATA}/{file.path}")]

    def gwosc(self, request: web.Request) -> Callable[[FrameFile], str]:
        """What gives the URLs of files for clients of GWOSC. Errors as `of_type`."""
        base = base_url(request, self._config.public_url)
        folders = {"gwf": DATA}
        return lambda file: base + self._signed(f"{folders.get(file.extension, GWOSC_DATA)}/{file.path}")

    def routes(self, data: Callable[[web.Request], web.Response]) -> web.Routes:
        """The route of signed URLs; `data` answers for the path that was signed."""

        @web.describe(
            "A file, as a listing has its URL", below="{signature}/data/{observatory}/{frametype}/{file}",
            media=("application/octet-stream",), errors=(Unauthenticated,),
        )  # fmt: skip
        @auth.requires(auth.OPEN)
        def signed(request: web.Request) -> web.Response:
            return data(dataclasses.replace(request, path=self.verified(request.path)))

        return {("GET", f"{_SIGNED}/*"): signed}

    def verified(self, path: str) -> str:
        """The path in a signed one.

        Raises:
            Unauthenticated: nothing is signed here, the signature is wrong, or it has expired.
        """
        signature, slash, inner = path.removeprefix(f"{_SIGNED}/").partition("/")
        match = _SIGNATURE.fullmatch(signature)
        if self._key is None or match is None or not f"{slash}{inner}".startswith(f"{DATA}/"):
            raise Unauthenticated("this is no signed URL of this store: take one from a listing")
        expiry, mac = int(match[1]), match[2]
        if not hmac.compare_digest(mac, _mac(self._key.get(), expiry, slash + inner)):
            raise Unauthenticated("the signature is wrong: take the URL as the listing has it")
        if expiry <= self._clock():
            raise Unauthenticated("the signed URL has expired: ask for the listing again")
        return slash + inner

    def _signed(self, path: str) -> str:
        if self._key is None:
            return path
        # Rounded, so that a listing that is asked for again has the same URLs, by which clients cache files.
        expiry = (int(self._clock() / self._config.signed_seconds) + 2) * self._config.signed_seconds
        return f"{_SIGNED}/{expiry}.{_mac(self._key.get(), expiry, path)}{path}"


def _key(text: str) -> bytes:
    key = text.strip().encode()
    if len(key) < _MIN_KEY:
        raise ValueError(f"must hold a key of at least {_MIN_KEY} characters, as from: openssl rand -hex 32")
    return key


def _mac(key: bytes, expiry: int, path: str) -> str:
    return hmac.new(key, f"{expiry}\n{path}".encode(), hashlib.sha256).hexdigest()
