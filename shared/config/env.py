"""Reading settings from environment variables: each is declared once, with its default, its kind and its meaning."""

from __future__ import annotations

import dataclasses
import math
import os
import re
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, TypeVar

T = TypeVar("T")
Environment = Mapping[str, str]
_ORIGIN = re.compile(r"https?://([A-Za-z0-9.-]+|\[[0-9A-Fa-f:.]+\])(:[0-9]{1,5})?")


class ConfigError(ValueError):
    """A variable has a value that cannot be used; the text names the variable and says what it takes."""


class Kind(NamedTuple):
    """A kind of value: how it is read from text (raising ValueError), and what a good one looks like, in words."""

    convert: Callable[[str], Any]
    expected: str


class Setting(NamedTuple):
    """An environment variable: its name, its kind, and what it means, as the documentation lists it."""

    variable: str
    kind: Kind
    meaning: str


def setting(variable: str, default: Any, kind: Kind, meaning: str = "", *, secret: bool = False) -> Any:
    """A dataclass field whose value comes from an environment variable; a secret one is not shown by `repr`."""
    return dataclasses.field(default=default, repr=not secret, metadata={"setting": Setting(variable, kind, meaning)})


def settings_of(cls: type[Any]) -> list[tuple[Setting, Any]]:
    """The settings that a dataclass declares, each with its default."""
    return [(f.metadata["setting"], f.default) for f in dataclasses.fields(cls) if "setting" in f.metadata]


def read(cls: type[T], env: Environment, **computed: Any) -> T:
    """Make a dataclass from the environment; fields that are not settings come from `computed`.

    Raises:
        ConfigError: a variable has a value that cannot be used.
    """
    values = dict(computed)
    for f in dataclasses.fields(cls):  # type: ignore[arg-type]
        found: Setting | None = f.metadata.get("setting")
        if found is not None and f.name not in computed:
            values[f.name] = value_of(env, found.variable, f.default, found.kind)
    return cls(**values)


def value_of(env: Environment, variable: str, default: T, kind: Kind) -> T:
    """The value of one variable; its default where it is unset or empty. Errors as `read`."""
    text = env.get(variable, "")
    if text == "":
        return default
    try:
        value: T = kind.convert(text)
    except ValueError:
        raise ConfigError(f"{variable}={text!r}: must be {kind.expected}") from None
    return value


def child_environment(root: str, **more: str) -> dict[str, str]:
    """The environment for a child process: this one's, `more`, and `root` as a place to import from.

    A crash in a library's C code leaves the threads' stacks in the log.
    """
    path = os.pathsep.join(filter(None, (root, os.environ.get("PYTHONPATH"))))
    return {**os.environ, "PYTHONPATH": path, "PYTHONFAULTHANDLER": "1", **more}


def words(text: str) -> tuple[str, ...]:
    """The words of a comma-separated list."""
    return tuple(filter(None, (word.strip() for word in text.split(","))))


# -- kinds ----------------------------------------------------------------------------------------------------


def _between(low: int, high: int) -> Callable[[str], int]:
    def convert(text: str) -> int:
        if not low <= (number := int(text)) <= high:
            raise ValueError
        return number

    return convert


def _seconds(text: str) -> float:
    if not 0 < (number := float(text)) < 1e9:
        raise ValueError
    return number


def _seconds_or_zero(text: str) -> float:
    number = float(text)
    if not (0 <= number < 1e9 and math.isfinite(number)):
        raise ValueError
    return number


def _address(text: str) -> tuple[str, int]:
    host, colon, port = text.rpartition(":")
    if not colon:
        raise ValueError
    return host.strip("[]") or "0.0.0.0", PORT.convert(port)  # noqa: S104 - the original's meaning of ":8080"


def _file_name(text: str) -> str:
    if os.path.basename(text) != text or text in (".", ".."):
        raise ValueError
    return text


def _url(text: str) -> str:
    if not text.startswith(("http://", "https://")):
        raise ValueError
    return text


def _url_or_path(text: str) -> str:
    return text if text.startswith("/") else _url(text)


def _hosts(text: str) -> str:
    if any(mark in host for host in words(text) for mark in "/@*? "):
        raise ValueError
    return text


def _origins(text: str) -> str:
    if not all(_ORIGIN.fullmatch(origin) for origin in words(text)):
        raise ValueError
    return text


def _endpoint(text: str) -> str:
    if not text.isprintable() or " " in text:
        raise ValueError
    return _url(text) if "://" in text else text


def _switch(text: str) -> bool:
    try:
        return {"true": True, "1": True, "false": False, "0": False}[text.lower()]
    except KeyError:
        raise ValueError from None


def _absolute_path(text: str) -> str:
    if os.path.normpath(text) != text or not text.startswith("/"):
        raise ValueError
    return text


_UNITS = {"": 1.0, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_BYTES = {"B": 1, "kB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12, "MiB": 2**20, "GiB": 2**30, "TiB": 2**40}


class Keep(NamedTuple):
    """How long local copies are kept: so many seconds, or until less than so many bytes are free; None is no rule."""

    seconds: float | None = None
    free: int | None = None

    @classmethod
    def parse(cls, text: str) -> Keep:
        """Read `3600`, `7d` or `50GB`.

        Raises:
            ValueError: it is none of these.
        """
        if text == "":
            return cls()
        found = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?)([A-Za-z]*)", text)
        if found is None:
            raise ValueError
        number, unit = float(found[1]), found[2]
        if unit in _UNITS:
            return cls(seconds=number * _UNITS[unit])
        if unit in _BYTES:
            return cls(free=int(number * _BYTES[unit]))
        raise ValueError


def _keep(text: str) -> str:
    Keep.parse(text)
    return text


def _place(text: str) -> str:
    if not re.fullmatch(r"[a-z][a-z0-9+]*:(:[a-z0-9+]+:)*//[^\s?#]+", text):
        raise ValueError
    return text


def choice(**values: object) -> Kind:
    """One of several words, each standing for a value."""

    def convert(text: str) -> object:
        if text not in values:
            raise ValueError
        return values[text]

    return Kind(convert, " or ".join(values))


_positive = _between(1, 1 << 62)
COUNT = Kind(_positive, "a positive whole number")
SIZE = Kind(_positive, "a positive number of bytes")
PORT = Kind(_between(1, 65535), "a port number")
SECONDS = Kind(_seconds, "a positive number of seconds")
SECONDS_OR_ZERO = Kind(_seconds_or_zero, "a number of seconds, 0 for off")
SWITCH = Kind(_switch, "true or false")
ADDRESS = Kind(_address, "host:port or :port")
FILE_NAME = Kind(_file_name, "a file name")
URL = Kind(_url, "an http:// or https:// URL")
HOSTS = Kind(_hosts, "host or host:port, several separated by commas")
ORIGINS = Kind(_origins, "origins such as https://lab.example.org, several separated by commas")
URL_OR_PATH = Kind(_url_or_path, "an http:// or https:// URL, or a path")
ENDPOINT = Kind(_endpoint, "a path without spaces, or an http:// or https:// URL")
ABSOLUTE_PATH = Kind(_absolute_path, "a path that begins with / and goes nowhere else")
KEEP = Kind(_keep, "seconds such as 3600 or 7d, or bytes to keep free such as 50GB")
PLACE = Kind(_place, "a URL of fsspec such as s3://bucket/prefix or file:///mnt/tape")
TEXT = Kind(str, "text")
