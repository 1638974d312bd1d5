"""Decoders of JSON and MessagePack into types, safe to use from several threads.

msgspec (0.22) looks at a type when it is first decoded into, and other threads that decode into it meanwhile end the
process by SIGSEGV. Here one thread looks at a type at a time, so everything that decodes gets its decoder here.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, TypeVar

import msgspec

T = TypeVar("T")

_looking = threading.Lock()
_decoders: dict[tuple[Callable[..., Any], Any], Any] = {}


def json_decoder(type: type[T]) -> msgspec.json.Decoder[T]:
    """The decoder of JSON into a type; always the same one."""
    return _decoder(msgspec.json.Decoder, type)  # type: ignore[no-any-return]


def msgpack_decoder(type: type[T]) -> msgspec.msgpack.Decoder[T]:
    """The decoder of MessagePack into a type; always the same one."""
    return _decoder(msgspec.msgpack.Decoder, type)  # type: ignore[no-any-return]


def convert(value: object, type: type[T]) -> T:
    """A decoded value as a type.

    Raises:
        msgspec.ValidationError: it is none.
    """
    json_decoder(type)  # looks at the type
    return msgspec.convert(value, type)


def _decoder(kind: Callable[..., Any], type: Any) -> Any:
    found = _decoders.get((kind, type))
    if found is None:
        with _looking:
            found = _decoders.setdefault((kind, type), kind(type))
    return found
