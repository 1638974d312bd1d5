"""Settings of telemetry: the form of log lines, and where spans go."""

from __future__ import annotations

import os
from dataclasses import dataclass

from shared.config.env import URL, Environment, choice, read, setting


@dataclass(frozen=True, kw_only=True)
class TelemetryConfig:
    """How a process tells what it does."""

    log_json: bool = setting("LOG_FORMAT", False, choice(text=False, json=True), "lines of the log: `text`, or `json`")
    otlp_endpoint: str = setting(
        "OTEL_EXPORTER_OTLP_ENDPOINT", "", URL, "collector of spans, over OTLP/HTTP; it needs the extra `otel`"
    )


def telemetry_from_env(env: Environment = os.environ) -> TelemetryConfig:
    """Read the settings.

    Raises:
        ConfigError: as `store_from_env`.
    """
    return read(TelemetryConfig, env)


def trace_from_env(env: Environment = os.environ) -> tuple[str, str]:
    """The traceparent and tracestate of this process, as the one that started it gave them; not checked."""
    return env.get("TRACEPARENT", ""), env.get("TRACESTATE", "")
