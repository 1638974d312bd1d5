"""Scopes in the claims of JWTs."""

from __future__ import annotations

import pytest

from shared.auth.jwt_verifier import scopes_in


@pytest.mark.parametrize(
    ("claim", "scopes"),
    [
        ("storage.read:/", {"read"}),
        ("storage.read:/virgo", {"read"}),
        ("storage.read:/virgo/datastore", {"read"}),
        ("storage.read:/virgo/", {"read"}),
        ("storage.read:/virgo/data", set()),
        ("storage.read:/virgo/datastore/deeper", set()),
        ("storage.read:/virgo/../virgo/datastore", set()),
        ("storage.read", set()),
        ("storage.create:/virgo", {"write"}),
        ("storage.modify:/virgo", {"write", "operate"}),
        ("storage.stage:/ compute.read offline_access", set()),
        ("read:/virgo write:/elsewhere", {"read"}),
        ("read write operate", {"read", "write", "operate"}),
        ("service writer.commit relay", set()),
        ("gwdatafind.read dqsegdb.read", {"read"}),
        ("arrakis.read arrakis.create", {"read"}),
        ("gwdatafind.read:/virgo", {"read"}),
        ("dqsegdb.create gwdatafind.read:/elsewhere", set()),
        (["read"], set()),
        (None, set()),
    ],
)
def test_scopes_are_read_as_the_field_writes_them(claim, scopes):
    assert scopes_in(claim, "/virgo/datastore") == scopes
