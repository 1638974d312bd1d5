"""Metrics of a process, as /metrics exposes them in Prometheus's text format."""

from __future__ import annotations

from collections.abc import Callable

from prometheus_client import CONTENT_TYPE_LATEST, REGISTRY, Counter, Gauge, Histogram, generate_latest

from shared.domain.state import FROZEN, State

CONTENT_TYPE = CONTENT_TYPE_LATEST
_SECONDS = (0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)

SEGMENTS = Counter("datastore_segments_accepted", "Segments and blocks acknowledged by this process")
BYTES = Counter("datastore_bytes_accepted", "Bytes of the segments and blocks acknowledged by this process")
RUNS = Counter("datastore_runs_accepted", "Runs of one channel in the segments and blocks acknowledged by this process")
SAMPLES = Counter("datastore_samples_accepted", "Samples of all channels acknowledged by this process")
REFUSALS = Counter("datastore_refusals", "Requests answered with an error, by code", ["code"])
GROUP_SIZE = Histogram(
    "datastore_group_size", "Segments that shared one sync", buckets=[1, 2, 4, 8, 16, 32, 64, 128, 256]
)
SPOOL_SECONDS = Histogram("datastore_spool_seconds", "Staging and syncing one group's payloads", buckets=_SECONDS)
COMMIT_SECONDS = Histogram("datastore_commit_seconds", "Deciding one group", buckets=_SECONDS)
QUEUE = Gauge("datastore_queue_length", "Segments waiting for the next group")
AHEAD = Counter("datastore_segments_ahead", "Segments whose GPS time is more than a minute ahead of the clock")
KEYS = Gauge("datastore_keys", "Idempotency keys of segments in memory")
PENDING = Gauge("datastore_segments_pending", "Stored segments whose files the volume does not take now")
MISSING = Gauge("datastore_segments_missing", "Stored segments found neither as a file nor in a spool")
REMOTE_WAITING = Gauge("datastore_archives_waiting", "Archives without a verified copy at ARCHIVE_URL")
REMOTE_WAITING_BYTES = Gauge("datastore_archives_waiting_bytes", "Bytes of the segments in these archives")
REMOTE_OLDEST = Gauge("datastore_archives_waiting_seconds", "Seconds since the oldest of these archives was made")
REMOTE_ELSEWHERE = Gauge("datastore_archives_elsewhere", "Archives whose segments lie at ARCHIVE_URL only")
REMOTE_LOST = Gauge("datastore_archives_lost", "Archives without local segments whose copy is gone or differs")
REMOTE_FAILURES = Counter("datastore_archive_failures", "Failed attempts to copy, free, verify or restore an archive")
REMOTE_REQUESTS = Counter("datastore_remote_requests", "Requests for ranges of archives at ARCHIVE_URL")
REMOTE_BYTES = Counter("datastore_remote_bytes", "Bytes read from ARCHIVE_URL by requests for segments")

# Only a writer has them: alerts count the series, and none means that there is no writer.
_STATE: dict[Gauge, Callable[[State], float]] = {
    Gauge("datastore_batch_segments", "Segments in the open batch", registry=None): lambda state: state.segments,
    Gauge("datastore_batch_bytes", "Bytes in the open batch", registry=None): lambda state: state.bytes,
    Gauge("datastore_frozen", "1 while the batch is frozen", registry=None): lambda state: state.status == FROZEN,
}
_exposed = False


def expose_state(state: Callable[[], State]) -> None:
    """Read the gauges of the batch from `state()` at every scrape."""
    global _exposed
    for gauge, value in _STATE.items():
        gauge.set_function(lambda value=value: value(state()))  # type: ignore[misc]
        if not _exposed:
            REGISTRY.register(gauge)
    _exposed = True


def refusals() -> dict[str, int]:
    """Requests answered with an error since this process began, by code."""
    [family] = REFUSALS.collect()
    return {s.labels["code"]: int(s.value) for s in family.samples if s.name.endswith("_total")}


def text() -> bytes:
    """All metrics, as a scrape reads them."""
    return generate_latest(REGISTRY)
