"""Lists as they are streamed."""

from __future__ import annotations

import json

import pytest

from shared.web import messages


@pytest.mark.parametrize(
    "count", [0, 1, messages._NAMES - 1, messages._NAMES, messages._NAMES + 1, 2 * messages._NAMES]
)
def test_a_list_of_names_is_whole_however_many_there_are(count):
    names = [f"gwb{i}.json" for i in range(count)]
    body = messages.name_list(names).body
    assert not isinstance(body, bytes)
    assert json.loads(b"".join(body)) == {"nmlist": names}
