"""Settings: those that are nearly named as one, and those with values that cannot be used."""

from __future__ import annotations

import re

import pytest

from shared import config
from shared.config import ConfigError
from shared.serve import command_line
from shared.serve.command_line import known_variables, mistyped
from tests.support import ROOT


@pytest.mark.parametrize(("name", "meant"), [
    ("MAXSIZE", "MAX_SIZE"), ("MAX_SIZES", "MAX_SIZE"), ("AUTH_TOKEN", "AUTH_TOKENS"), ("SERV_URL", "SERVURL"),
    ("auth_tokens", "AUTH_TOKENS"),
])  # fmt: skip
def test_a_variable_that_was_meant_is_named(name, meant):
    assert mistyped({name: "1"}) == [f"{name} is not a variable of the store and has no effect; {meant} is one"]


def test_other_variables_are_none_of_its_business():
    others = {"PATH", "HOME", "HOST", "PORTS", "KUBERNETES_PORT", "K_REVISION", "PYTHONPATH", "LANG", "FOOT"}
    assert mistyped(dict.fromkeys(others | known_variables(), "x")) == []


class Recorder(dict):
    """An environment that notes the variables that are asked for."""

    def __init__(self, *given):
        super().__init__(*given)
        self.asked = set()

    def get(self, key, default=None):
        self.asked.add(key)
        return super().get(key, default)


FUNCTIONS = sorted(path.parent.name for path in (ROOT / "functions").glob("*/main.py"))
# Any text is right for these; wrong for all others is text with a space and a slash in it.
FREE = {
    "ROOT", "ADMROOT", "LOGROOT", "DTVOLROOT", "DATAROOT", "DATANM", "STORE_NAME", "EVENT_SOURCE", "EVENTS_SENDERS",
    "SINK_TOKEN", "DATASET", "URL_SIGNING_KEY", "AUTH_SERVICE_TOKEN", "ARCHIVE_OPTIONS",
}  # fmt: skip
CALL_WRITER = ("ingest", "freeze", "cleanall")


def needed(target: str) -> dict[str, str]:
    return {"WRITER_URL": "http://writer"} if target in CALL_WRITER else {}


def read_by(target: str) -> set[str]:
    env = Recorder(needed(target))
    command_line.check_settings(env, target)
    return env.asked - {"FAILPOINTS"}  # for tests, and none of the settings


@pytest.mark.parametrize("target", FUNCTIONS)
def test_every_bad_setting_of_a_function_is_named_with_its_value_before_anything_is_made(target):
    asked = read_by(target)
    assert {"ROOT", "MAX_SIZE", "MAX_BODY", "AUTH_TOKENS", "WCHSZ"} <= asked
    for variable in asked - FREE - {"AUTH_TOKENS"}:
        with pytest.raises(ConfigError, match=f"{variable}|_(ISSUER|AUDIENCE|JWKS)='': must be set") as refused:
            command_line.check_settings({**needed(target), variable: "no such/value"}, target)
        assert "\n" not in str(refused.value)
        assert variable.endswith(("_ISSUER", "_AUDIENCE", "_JWKS")) or "no such/value" in str(refused.value), variable


def test_every_setting_is_read_by_the_functions_that_use_it():
    asked = {target: read_by(target) for target in FUNCTIONS}
    assert set().union(*asked.values()) == config.declared_variables()
    for target in FUNCTIONS:
        source = "".join(path.read_text() for path in (ROOT / "functions" / target).glob("*.py"))
        for name in re.findall(r"config\.(\w+_from_env)", source):
            wanted = Recorder()
            getattr(config, name)(wanted)
            assert wanted.asked <= asked[target], (target, name)


@pytest.mark.parametrize("target", CALL_WRITER)
def test_what_calls_the_writer_needs_its_address(target):
    with pytest.raises(ConfigError, match=r"^WRITER_URL='': must be"):
        command_line.check_settings({}, target)


@pytest.mark.parametrize("target", [*CALL_WRITER, "logic", "glitchflow"])
def test_a_file_with_a_token_that_cannot_be_read_is_named(target, tmp_path):
    given = {**needed(target), "AUTH_SERVICE_TOKEN": "/nowhere"}
    with pytest.raises(ConfigError, match=r"^AUTH_SERVICE_TOKEN='/nowhere': No such file"):
        command_line.check_settings(given, target)
    (tmp_path / "token").write_text("a\n")
    with pytest.raises(ConfigError, match=r"^AUTH_TOKENS='/nowhere': No such file"):
        command_line.check_settings(
            {**given, "AUTH_SERVICE_TOKEN": str(tmp_path / "token"), "AUTH_TOKENS": "/nowhere"}, target
        )
