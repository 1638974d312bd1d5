"""Variables that are nearly named as a setting."""

from __future__ import annotations

import pytest

from shared.serve.command_line import known_variables, mistyped


@pytest.mark.parametrize(("name", "meant"), [
    ("MAXSIZE", "MAX_SIZE"), ("MAX_SIZES", "MAX_SIZE"), ("AUTH_TOKEN", "AUTH_TOKENS"), ("SERV_URL", "SERVURL"),
    ("auth_tokens", "AUTH_TOKENS"),
])  # fmt: skip
def test_a_variable_that_was_meant_is_named(name, meant):
    assert mistyped({name: "1"}) == [f"{name} is not a variable of the store and has no effect; {meant} is one"]


def test_other_variables_are_none_of_its_business():
    others = {"PATH", "HOME", "HOST", "PORTS", "KUBERNETES_PORT", "K_REVISION", "PYTHONPATH", "LANG", "FOOT"}
    assert mistyped(dict.fromkeys(others | known_variables(), "x")) == []
