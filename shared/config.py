"""The configuration: every environment variable the services read, checked once, in frozen objects."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TypeVar

from shared.policy import Policy

T = TypeVar("T")

PRODUCTS = "products"  # the folder's name beside the batch, and in its archive


class ConfigError(ValueError):
    """A variable has a value that cannot be used; the text names it."""


@dataclass(frozen=True, kw_only=True)
class Config:
    """Where things are and how much is allowed. Sizes are in bytes, times in seconds."""

    host: str = "127.0.0.1"
    port: int = 8080
    adm_root: str  # ADMROOT: folder of the published views
    stat_name: str = "StatDesc.json"  # ADMFNM
    dstat_name: str = "Dsstat.json"  # DSST
    log_root: str  # LOGROOT: folder of the journal
    log_name: str = "LogStream.json"  # LOGSTREAM
    data_root: str  # DATAROOT: the batch's files
    volume_root: str  # DTVOLROOT: the archives, and the spool, on one file system with data_root
    queue_length: int = 1024  # WCHSZ: segments that may wait in ingest
    group_size: int = 256  # segments that share one sync at the most
    stage_apart: int = 7  # segments: so large a group's files are made by another process
    spool_size: int = 64 << 20  # a spool longer than this is closed and trimmed
    checkpoint_size: int = 64 << 20  # a start folds so much of the journal at the most, unless it must fold all of it
    writer_url: str = ""  # the split ingest, freeze and cleanall find the writer here
    commit_timeout: float = 10.0  # how long ingest tries to reach a verdict before it answers BUSY
    housekeeping: float = 10.0  # seconds between the writer's trims
    sink: str = ""  # K_SINK: where facts are delivered
    source: str = "/datastore"  # the CloudEvents source of those facts
    segment_facts: bool = False  # also deliver a fact for every stored segment
    preproc_auto: bool = True  # PREPROC=auto: the embedded store makes a frozen batch's products where gwpy is present
    preproc_timeout: float = 540.0  # how long making one batch's products may take
    max_samples: int = 1 << 20  # of a segment
    service_token: str = ""  # file with the token for requests to the writer
    sink_token: str = "/oidc/token"  # noqa: S105 - file with the sink's token, where a SinkBinding mounts it

    @property
    def stat_path(self) -> str:
        """The published view of the counts."""
        return os.path.join(self.adm_root, self.stat_name)

    @property
    def dstat_path(self) -> str:
        """The published view of the state."""
        return os.path.join(self.adm_root, self.dstat_name)

    @property
    def tally_path(self) -> str:
        """The counts, for readers that must be exact."""
        return os.path.join(self.adm_root, "tally")

    @property
    def checkpoint_path(self) -> str:
        """What the journal comes to, for a short start."""
        return os.path.join(self.adm_root, "checkpoint")

    @property
    def journal_path(self) -> str:
        """The journal of the open batch."""
        return os.path.join(self.log_root, self.log_name)

    @property
    def lock_path(self) -> str:
        """Whoever decides about the batch, or puts something beside it, holds the lock on this file."""
        return f"{self.journal_path}.lock"

    @property
    def products_root(self) -> str:
        """What preproc made of the frozen batch."""
        return os.path.join(self.volume_root, PRODUCTS)

    @property
    def spool_root(self) -> str:
        """Payloads accepted and not yet known to be durable as files."""
        return os.path.join(self.volume_root, ".spool")


def from_env(env: Mapping[str, str] = os.environ) -> Config:
    """Read the configuration; every folder is under ROOT (default `./var`) unless it is named itself.

    Raises:
        ConfigError: a value cannot be used; the message names the variable and says what it takes.
    """
    root = env.get("ROOT") or "var"

    def folder(name: str, default: str) -> str:
        return os.path.abspath(env.get(name) or os.path.join(root, default))

    def read(name: str, default: T, convert: Callable[[str], T], wants: str) -> T:
        return _read(env, name, default, convert, wants)

    host, port = read("SERVURL", ("127.0.0.1", 8080), _address, "host:port or :port")
    volume = folder("DTVOLROOT", "datavar")
    # DATANM repeats DATAROOT in the original's environment; either names the folder.
    data = os.path.abspath(env.get("DATAROOT") or env.get("DATANM") or os.path.join(volume, "data"))
    if os.path.dirname(data) != volume:
        raise ConfigError(f"DATAROOT={data!r}: must lie directly in DTVOLROOT={volume!r}, cleanall renames it there")
    if os.path.basename(data) == PRODUCTS:
        raise ConfigError(f"DATAROOT={data!r}: that is where the batch's products lie")
    return Config(
        host=host,
        port=read("PORT", port, _count(65535), "a port number"),
        adm_root=folder("ADMROOT", "appdata/adm"),
        stat_name=read("ADMFNM", Config.stat_name, _name, "a file name"),
        dstat_name=read("DSST", Config.dstat_name, _name, "a file name"),
        log_root=folder("LOGROOT", "appdata/log"),
        log_name=read("LOGSTREAM", Config.log_name, _name, "a file name"),
        data_root=data,
        volume_root=volume,
        queue_length=read("WCHSZ", Config.queue_length, _count(), "a positive whole number"),
        group_size=read("GROUP_SIZE", Config.group_size, _count(), "a positive whole number"),
        stage_apart=read("STAGE_APART", Config.stage_apart, _count(), "a positive whole number"),
        spool_size=read("SPOOL_SIZE", Config.spool_size, _count(), "a positive number of bytes"),
        checkpoint_size=read("CHECKPOINT_SIZE", Config.checkpoint_size, _count(), "a positive number of bytes"),
        writer_url=read("WRITER_URL", "", _url, "an http:// or https:// URL"),
        commit_timeout=read("COMMIT_TIMEOUT", Config.commit_timeout, _seconds, "a positive number of seconds"),
        housekeeping=read("HOUSEKEEPING", Config.housekeeping, _seconds, "a positive number of seconds"),
        sink=read("K_SINK", "", _url, "an http:// or https:// URL"),
        source=env.get("EVENT_SOURCE") or Config.source,
        segment_facts=read("SEGMENT_FACTS", False, _switch, "true or false"),
        preproc_auto=read("PREPROC", True, _auto, "auto or off"),
        preproc_timeout=read("PREPROC_TIMEOUT", Config.preproc_timeout, _seconds, "a positive number of seconds"),
        max_samples=read("MAX_SAMPLES", Config.max_samples, _count(), "a positive whole number"),
        service_token=env.get("AUTH_SERVICE_TOKEN", ""),
        sink_token=env.get("SINK_TOKEN") or Config.sink_token,
    )


@dataclass(frozen=True, kw_only=True)
class Upstream:
    """The service behind this one: its base URL, and its endpoints, each below the base or a URL of its own."""

    base: str
    timeout: float = 15.0  # seconds; longer than COMMIT_TIMEOUT, so that the one who knows most answers
    endpoints: Mapping[str, str] = field(default_factory=dict)
    page: str = ""  # where users find the status page, if not at the base
    products: str = ""  # where the products of preprocessing are listed
    sink: str = ""  # ask for freeze and cleanall by CloudEvent, here
    source: str = Config.source
    service_token: str = ""  # file with the token for requests to it

    def url(self, name: str) -> str:
        """Where the endpoint of this variable's name is."""
        path = self.endpoints[name]
        return path if "://" in path else f"{self.base.rstrip('/')}/{path.lstrip('/')}"


LOGIC_ENDPOINTS = {
    "ENDP_STAT": "stat",
    "ENDP_DUMP": "dumpLogF",
    "ENDP_DUMPF": "dumpF",
    "ENDP_SEND": "sendF",
    "ENDP_DESC": "dstat",
    "ENDP_UPD_DESC": "upddsc",
    "ENDP_CLEAN": "cleanall",
    "ENDP_SEGMENT": "segment",
    "ENDP_ARCHIVES": "archives",
}
GLITCHFLOW_ENDPOINTS = {
    "DS_STAT": "bufstat",
    "DS_SEND": "stream",
    "DS_FREEZE": "freezeds",
    "DS_FLUSH": "flushbuf",
    "DS_DESC": "dsdesc",
    "DS_DUMPF": "dumpf",
}
_ENDPOINT = "a path without spaces, or an http:// or https:// URL"


def logic_from_env(env: Mapping[str, str] = os.environ) -> Upstream:
    """Where Datastore Logic finds the Data Buffer.

    Raises:
        ConfigError: as `from_env`.
    """
    ask = _read(env, "ASK_BY", "http", _one_of("http", "event"), "http or event")
    sink = _read(env, "K_SINK", "", _url, "an http:// or https:// URL")
    if ask == "event" and not sink:
        raise ConfigError("ASK_BY='event': K_SINK must say where events go")
    return Upstream(
        base=_read(env, "DB_BURL", "http://127.0.0.1:8080/", _url, "an http:// or https:// URL"),
        timeout=_read(env, "UPSTREAM_TIMEOUT", Upstream.timeout, _seconds, "a positive number of seconds"),
        endpoints={name: _read(env, name, path, _endpoint, _ENDPOINT) for name, path in LOGIC_ENDPOINTS.items()},
        products=_read(env, "PRODUCTS_URL", "", _url, "an http:// or https:// URL"),
        sink=sink if ask == "event" else "",
        source=env.get("EVENT_SOURCE") or Config.source,
        service_token=env.get("AUTH_SERVICE_TOKEN", ""),
    )


def glitchflow_from_env(env: Mapping[str, str] = os.environ) -> Upstream:
    """Where GlitchflowAPI finds Datastore Logic.

    Raises:
        ConfigError: as `from_env`.
    """
    base = _read(env, "DS_BURL", "http://127.0.0.1:5000/", _url, "an http:// or https:// URL")
    return Upstream(
        base=base,
        timeout=_read(env, "UPSTREAM_TIMEOUT", Upstream.timeout + 5, _seconds, "a positive number of seconds"),
        endpoints={name: _read(env, name, path, _endpoint, _ENDPOINT) for name, path in GLITCHFLOW_ENDPOINTS.items()},
        page=_read(env, "DS_PAGE", base, _page, "an http:// or https:// URL, or a path"),
        service_token=env.get("AUTH_SERVICE_TOKEN", ""),
    )


def policy_from_env(env: Mapping[str, str] = os.environ) -> Policy:
    """When a batch may freeze.

    Raises:
        ConfigError: as `from_env`.
    """
    return Policy(
        max_size=_read(env, "MAX_SIZE", Policy.max_size, _count(), "a positive number of bytes"),
        min_seconds=_read(env, "MIN_SECONDS", Policy.min_seconds, _seconds_or_none, "a number of seconds, 0 for off"),
        auto=_read(env, "AUTO_FREEZE", Policy.auto, _switch, "true or false"),
    )


def _read(env: Mapping[str, str], name: str, default: T, convert: Callable[[str], T], wants: str) -> T:
    text = env.get(name, "")
    if text == "":
        return default
    try:
        return convert(text)
    except ValueError:
        raise ConfigError(f"{name}={text!r}: must be {wants}") from None


def for_child(root: str, **more: str) -> dict[str, str]:
    """The environment for a process of ours: this one's, `more`, and `root` as a place to import from."""
    path = os.pathsep.join(filter(None, (root, os.environ.get("PYTHONPATH"))))
    return {**os.environ, "PYTHONPATH": path, **more}


def _address(text: str) -> tuple[str, int]:
    host, colon, port = text.rpartition(":")
    if not colon:
        raise ValueError
    return host.strip("[]") or "0.0.0.0", _count(65535)(port)  # noqa: S104 - the original's meaning of ":8080"


def _count(most: int = 1 << 62) -> Callable[[str], int]:
    def convert(text: str) -> int:
        if not 0 < (number := int(text)) <= most:
            raise ValueError
        return number

    return convert


def _seconds(text: str) -> float:
    if not 0 < (number := float(text)) < 1e9:
        raise ValueError
    return number


def _seconds_or_none(text: str) -> float:
    return _seconds(text) if float(text) else 0.0


def _one_of(*words: str) -> Callable[[str], str]:
    def convert(text: str) -> str:
        if text not in words:
            raise ValueError
        return text

    return convert


def _endpoint(text: str) -> str:
    if not text.isprintable() or " " in text:
        raise ValueError
    return _url(text) if "://" in text else text


def _name(text: str) -> str:
    if os.path.basename(text) != text or text in (".", ".."):
        raise ValueError
    return text


def _url(text: str) -> str:
    if not text.startswith(("http://", "https://")):
        raise ValueError
    return text


def _auto(text: str) -> bool:
    if text not in ("auto", "off"):
        raise ValueError
    return text == "auto"


def _page(text: str) -> str:
    return text if text.startswith("/") else _url(text)


def _switch(text: str) -> bool:
    try:
        return {"true": True, "1": True, "false": False, "0": False}[text.lower()]
    except KeyError:
        raise ValueError from None
