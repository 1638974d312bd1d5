"""The configuration: every environment variable, checked once at start, in frozen objects."""

from shared.config.auth import AuthConfig, AuthMode, Issuer, auth_from_env
from shared.config.declared import declared_variables
from shared.config.env import ConfigError, Keep, child_environment
from shared.config.limits import Limits, limits_from_env, writer_limits
from shared.config.services import ServiceEndpoints, glitchflow_from_env, logic_from_env
from shared.config.store import StoreConfig, host_from_env, policy_from_env, store_from_env
from shared.config.strain import StrainConfig, strain_from_env
from shared.config.telemetry import TelemetryConfig, telemetry_from_env, trace_from_env

__all__ = [
    "AuthConfig",
    "AuthMode",
    "ConfigError",
    "Issuer",
    "Keep",
    "Limits",
    "ServiceEndpoints",
    "StoreConfig",
    "StrainConfig",
    "TelemetryConfig",
    "auth_from_env",
    "child_environment",
    "declared_variables",
    "glitchflow_from_env",
    "host_from_env",
    "limits_from_env",
    "logic_from_env",
    "policy_from_env",
    "store_from_env",
    "strain_from_env",
    "telemetry_from_env",
    "trace_from_env",
    "writer_limits",
]
