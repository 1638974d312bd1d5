"""Decoders are made by one thread at a time: msgspec hands out types that it has looked at in part."""

from __future__ import annotations

import threading

import msgspec
import pytest

from shared.decoding import convert, json_decoder, msgpack_decoder

_reached, _go_on = threading.Event(), threading.Event()


def _slow() -> type[int]:
    _reached.set()
    assert _go_on.wait(30)
    return int


class Inner(msgspec.Struct):
    number: _slow()  # type: ignore[valid-type]  # evaluated when msgspec looks at the type


class Outer(msgspec.Struct):
    inner: Inner
    others: list[Inner] = []


def test_no_thread_gets_a_type_that_another_is_looking_at():
    found = []
    first = threading.Thread(target=lambda: found.append(json_decoder(Outer).decode(b'{"inner": {"number": 1}}')))
    second = threading.Thread(target=lambda: found.append(convert({"inner": {"number": 1}}, Outer)))
    first.start()
    assert _reached.wait(30)
    second.start()
    second.join(0.05)
    waits = second.is_alive()
    _go_on.set()
    first.join(30)
    second.join(30)
    assert waits
    assert found == [Outer(Inner(1)), Outer(Inner(1))]


def test_a_type_has_one_decoder_of_each_kind():
    assert json_decoder(list[int]) is json_decoder(list[int])
    assert msgpack_decoder(list[int]).decode(b"\x91\x01") == json_decoder(list[int]).decode(b"[1]") == [1]
    assert json_decoder(list[str]).decode(b'["1"]') == ["1"]


def test_a_value_of_another_type_is_refused():
    with pytest.raises(msgspec.ValidationError, match="Expected `int`"):
        convert(["1"], list[int])
