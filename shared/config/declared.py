"""The names of all variables, for warnings about mistyped ones and for the check of the documentation."""

from __future__ import annotations

from shared.config.auth import auth_from_env
from shared.config.limits import limits_from_env
from shared.config.services import glitchflow_from_env, logic_from_env
from shared.config.store import policy_from_env, store_from_env
from shared.config.strain import strain_from_env
from shared.config.telemetry import telemetry_from_env

_READERS = (
    store_from_env, policy_from_env, limits_from_env, auth_from_env, strain_from_env, logic_from_env,
    glitchflow_from_env, telemetry_from_env,
)  # fmt: skip


class _Recorder(dict[str, str]):
    """An environment without variables that notes which ones are asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: set[str] = set()

    def get(self, key: str, default: object = None) -> object:  # type: ignore[override]
        self.asked.add(key)
        return default


def declared_variables() -> set[str]:
    """Every variable that the configuration reads, in any function."""
    env = _Recorder()
    for read in _READERS:
        read(env)
    return env.asked
