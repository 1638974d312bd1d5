"""Tokens: issued, and read back from their file."""

from __future__ import annotations

import hashlib

import pytest

from shared.auth import issue_token
from shared.auth.tokens import read_tokens


def test_made_tokens_are_read_back():
    secret, line = issue_token.issue("airflow", "read,operate")
    [(digest, caller)] = read_tokens(line)
    assert digest == hashlib.sha256(secret.encode()).digest()
    assert (caller.name, caller.scopes) == ("airflow", {"read", "operate"})


_ZEROS = f"sha256:{'0' * 64}"


@pytest.mark.parametrize("line", ["sha256:00 me read", "me read", f"{_ZEROS} me root", f"{_ZEROS} me"])
def test_a_line_that_is_wrong_is_named_and_not_quoted(line):
    with pytest.raises(ValueError, match="line 2") as failure:
        read_tokens("# fine\n" + line)
    assert "me" not in str(failure.value).split(":")[0]
