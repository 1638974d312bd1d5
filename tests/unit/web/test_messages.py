"""Lists as they are streamed, and bodies as they are decoded."""

from __future__ import annotations

import json

import msgspec
import pytest

from shared.errors import BadRequest
from shared.web import messages


@pytest.mark.parametrize(
    "count", [0, 1, messages._NAMES - 1, messages._NAMES, messages._NAMES + 1, 2 * messages._NAMES]
)
def test_a_list_of_names_is_whole_however_many_there_are(count):
    names = [f"gwb{i}.json" for i in range(count)]
    body = messages.name_list(names).body
    assert not isinstance(body, bytes)
    assert json.loads(b"".join(body)) == {"nmlist": names}


class _Item(msgspec.Struct):
    n: int


def test_a_member_twice_is_refused_from_outside():
    assert messages.read_json(b'{"n":1}', _Item).n == 1
    with pytest.raises(BadRequest, match="`n` stands twice"):
        messages.read_json(b'{"n":1,"n":2}', _Item)


@pytest.mark.parametrize("body", [b"", b"{", b'{"n":"x"}', b'{"n":1,"s":"\xff"}', b'{"n":1,"s":' + b"[" * 100000])
def test_a_body_that_cannot_be_decoded_is_a_bad_request(body):
    with pytest.raises(BadRequest):
        messages.read_json(body, _Item)
    with pytest.raises(BadRequest):
        messages.decode_json(b"[" + body, msgspec.json.Decoder(list[_Item]).decode)
