"""Limits of a process: what one request may cost, and the times that servers and clients agree on."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace

from shared.config.env import COUNT, SECONDS, SIZE, ConfigError, Environment, read, setting

SHUTDOWN_GRACE = 20  # seconds for requests under way when the process is told to stop
KEEP_ALIVE = 75  # seconds after which a server closes an unused connection
CLIENT_IDLE_TIMEOUT = 30  # below KEEP_ALIVE, so that a server never closes a connection a client is about to reuse
CONTROL_BODY = 16 << 10  # bytes of a body that carries no segment, or comes without credentials
CONTROL_TIMEOUT = 5.0  # seconds in which a request to a function with threads must arrive: it is short, and holds one
STARTUP_FAILED = 500  # the readiness probe's status where the function could not be built: a configuration error


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What clients may cost a process. Sizes are in bytes, times in seconds."""

    body: int = setting("MAX_BODY", 8 << 20, SIZE, "body of one request, bytes")
    block: int = setting("MAX_BLOCK", 32 << 20, SIZE, "body of one block, bytes, and at most MAX_BODIES")
    total_bodies: int = setting("MAX_BODIES", 64 << 20, SIZE, "bodies of all requests under way, queue included, bytes")
    header: int = setting("MAX_HEADER", 32 << 10, SIZE, "request line and headers, bytes")
    request_timeout: float = setting("REQUEST_TIMEOUT", 30.0, SECONDS, "for a request to arrive, seconds")
    connections: int = setting("MAX_CONNECTIONS", 1024, COUNT, "connections of a process")
    page: int = setting("MAX_PAGE", 100_000, COUNT, "names or log entries in one page")
    span: int = setting("MAX_SPAN", 1 << 24, COUNT, "samples of one channel in one answer of /strain")

    @property
    def control_timeout(self) -> float:
        """For a request to arrive at a function with threads, or its response to leave, seconds."""
        return min(self.request_timeout, CONTROL_TIMEOUT)


def limits_from_env(env: Environment = os.environ) -> Limits:
    """The limits of this process.

    Raises:
        ConfigError: as `store_from_env`.
    """
    limits = read(Limits, env)
    if limits.total_bodies < limits.body:
        raise ConfigError(f"MAX_BODIES={limits.total_bodies}: must be at least MAX_BODY, {limits.body}")
    return replace(limits, block=min(limits.block, limits.total_bodies))


def writer_limits(env: Environment = os.environ) -> Limits:
    """The writer's limits: a batch of commit requests may be longer than a segment. Errors as `store_from_env`."""
    limits = limits_from_env(env)
    body = max(limits.body, 64 << 20)
    return replace(limits, body=body, total_bodies=max(limits.total_bodies, body))
