"""Settings of a store: its folders, its address, and the sizes and times of the write path."""

from __future__ import annotations

import os
from dataclasses import dataclass

from shared.config.env import (
    ADDRESS,
    COUNT,
    FILE_NAME,
    KEEP,
    PLACE,
    PORT,
    SECONDS,
    SECONDS_OR_ZERO,
    SIZE,
    SWITCH,
    TEXT,
    URL,
    ConfigError,
    Environment,
    choice,
    read,
    setting,
    value_of,
)
from shared.domain.freeze_policy import FreezePolicy

PRODUCTS = "products"  # name of the products' folder, beside the batch and in its archive
DATASETS = "datasets"  # name of the training sets' folder, there too


@dataclass(frozen=True, kw_only=True)
class StoreConfig:
    """Where the store lies and what it may take. Sizes are in bytes, times in seconds.

    Attributes:
        host, port: SERVURL; PORT, which Knative sets, overrides the port.
        adm_root: ADMROOT: folder of the counters, the views and the checkpoint.
        log_root: LOGROOT: folder of the journal.
        data_root: DATAROOT: folder of the batch's files, directly in `volume_root`.
        volume_root: DTVOLROOT: folder of the archives and the spool.
    """

    host: str = "127.0.0.1"
    port: int = 8080
    adm_root: str
    log_root: str
    data_root: str
    volume_root: str
    name: str = setting("STORE_NAME", "", TEXT, "name of the store, in the header and title of its page")
    stat_name: str = setting("ADMFNM", "StatDesc.json", FILE_NAME, "file name of the published counts")
    dstat_name: str = setting("DSST", "Dsstat.json", FILE_NAME, "file name of the published state")
    log_name: str = setting("LOGSTREAM", "LogStream.json", FILE_NAME, "file name of the journal")
    queue_length: int = setting("WCHSZ", 1024, COUNT, "segments that may wait in ingest; more are answered 503 `BUSY`")
    group_size: int = setting("GROUP_SIZE", 256, COUNT, "segments that share one sync at the most")
    stager_threshold: int = setting(
        "STAGE_APART", 7, COUNT, "groups of so many segments or more are staged by a process beside ingest"
    )
    spool_size: int = setting(
        "SPOOL_SIZE", 64 << 20, SIZE, "a spool file longer than this is closed and trimmed, bytes"
    )
    write_once: int = setting(
        "WRITE_ONCE",
        1 << 20,
        SIZE,
        "payloads of so many bytes or more are not copied to the spool; their file is synced",
    )
    checkpoint_size: int = setting(
        "CHECKPOINT_SIZE", 64 << 20, SIZE, "a start replays so many bytes of the journal at the most"
    )
    writer_url: str = setting("WRITER_URL", "", URL, "split: address of the writer, for ingest, freeze and cleanall")
    commit_timeout: float = setting("COMMIT_TIMEOUT", 10.0, SECONDS, "split: seconds after which ingest answers `BUSY`")
    housekeeping: float = setting("HOUSEKEEPING", 10.0, SECONDS, "seconds between two trims of the spool")
    sink: str = setting("K_SINK", "", URL, "where events are delivered")
    source: str = setting("EVENT_SOURCE", "/datastore", TEXT, "the CloudEvents `source` of those events")
    segment_facts: bool = setting("SEGMENT_FACTS", False, SWITCH, "deliver an event for every stored segment too")
    preproc_auto: bool = setting(
        "PREPROC", True, choice(auto=True, off=False), "embedded: whether a frozen batch's spectrograms are made"
    )
    preproc_timeout: float = setting("PREPROC_TIMEOUT", 540.0, SECONDS, "seconds that preproc may take for a batch")
    preproc_processes: int = setting(
        "PREPROC_PROCESSES",
        2,
        COUNT,
        "processes that make spectrograms at the same time, at most one a core, some 500 MB each",
    )
    preproc_warm: bool = setting(
        "PREPROC_WARM",
        False,
        SWITCH,
        "embedded: have a process with gwpy ready, 190 MB, while segments arrive and the batch holds 80 % of MAX_SIZE",
    )
    dataset: str = setting("DATASET", "", TEXT, "file with a request for a training set, made of every frozen batch")
    dataset_timeout: float = setting("DATASET_TIMEOUT", 3600.0, SECONDS, "seconds that a training set may take")
    max_samples: int = setting("MAX_SAMPLES", 1 << 20, COUNT, "samples in a segment")
    max_channels: int = setting(
        "MAX_CHANNELS", 1 << 14, COUNT, "channels in a block, counted once more for each gap in them"
    )
    max_keys: int = setting(
        "MAX_KEYS",
        4_000_000,
        COUNT,
        "idempotency keys of segments in memory, 110 bytes each; more are answered 503 `KEYSFULL`",
    )
    archive_url: str = setting("ARCHIVE_URL", "", PLACE, "where archives are copied to, any URL of fsspec")
    archive_options: str = setting(
        "ARCHIVE_OPTIONS",
        "",
        TEXT,
        "fsspec's options for that URL: a JSON object, or a file that holds one",
        secret=True,
    )
    archive_keep: str = setting(
        "ARCHIVE_KEEP",
        "",
        KEEP,
        "how long segments stay on the volume once their copy is verified, or bytes to keep free",
    )
    archive_piece: int = setting("ARCHIVE_PIECE", 64 << 20, SIZE, "size of the tar files into which segments go, bytes")
    archive_cache: int = setting(
        "ARCHIVE_CACHE", 64 << 20, SIZE, "memory of a process for what it has read from that URL, bytes"
    )
    service_token: str = setting("AUTH_SERVICE_TOKEN", "", TEXT, "file with the token for requests between functions")
    sink_token: str = setting(
        "SINK_TOKEN", "/oidc/token", TEXT, "file with the token for K_SINK, where a SinkBinding mounts it"
    )


def store_from_env(env: Environment = os.environ) -> StoreConfig:
    """Read the configuration; every folder is under ROOT (default `./var`) unless it is named itself.

    Raises:
        ConfigError: a value cannot be used; the message names the variable and says what it takes.
    """
    root = env.get("ROOT") or "var"

    def folder(name: str, default: str) -> str:
        return os.path.abspath(env.get(name) or os.path.join(root, default))

    if "@" in env.get("ARCHIVE_URL", ""):
        raise ConfigError(
            "ARCHIVE_URL: must not hold credentials, which belong into ARCHIVE_OPTIONS or their own variables"
        )
    host, port = _address(env)
    volume = folder("DTVOLROOT", "datavar")
    # DATANM repeats DATAROOT in the original's environment; either names the folder.
    data = os.path.abspath(env.get("DATAROOT") or env.get("DATANM") or os.path.join(volume, "data"))
    if os.path.dirname(data) != volume:
        raise ConfigError(f"DATAROOT={data!r}: must lie directly in DTVOLROOT={volume!r}, cleanall renames it there")
    if os.path.basename(data) in (PRODUCTS, DATASETS):
        raise ConfigError(f"DATAROOT={data!r}: is the folder of what is made of the batch; choose another name")
    return read(
        StoreConfig,
        env,
        host=host,
        port=value_of(env, "PORT", port, PORT),
        adm_root=folder("ADMROOT", "appdata/adm"),
        log_root=folder("LOGROOT", "appdata/log"),
        data_root=data,
        volume_root=volume,
    )


def host_from_env(env: Environment = os.environ) -> str:
    """The host at which this process listens. Errors as `store_from_env`."""
    return _address(env)[0]


def _address(env: Environment) -> tuple[str, int]:
    return value_of(env, "SERVURL", (StoreConfig.host, StoreConfig.port), ADDRESS)


def policy_from_env(env: Environment = os.environ) -> FreezePolicy:
    """When a batch may freeze: MAX_SIZE, MIN_SECONDS and AUTO_FREEZE. Errors as `store_from_env`."""
    return FreezePolicy(
        min_bytes=value_of(env, "MAX_SIZE", FreezePolicy.min_bytes, SIZE),
        min_seconds=value_of(env, "MIN_SECONDS", FreezePolicy.min_seconds, SECONDS_OR_ZERO),
        auto=value_of(env, "AUTO_FREEZE", FreezePolicy.auto, SWITCH),
    )
