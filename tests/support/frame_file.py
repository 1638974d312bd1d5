"""Reading a GWF file by nothing but the dictionary that it carries."""

from __future__ import annotations

import re
import struct
from typing import Any

CODES = {"INT_2S": "h", "INT_2U": "H", "INT_4S": "i", "INT_4U": "I", "INT_8U": "Q", "REAL_4": "f", "REAL_8": "d"}


def structures(file: bytes) -> dict[int, tuple[str, int, dict[str, Any]]]:
    """Name, instance and fields of each structure, by its position in the file."""
    found: dict[int, tuple[str, int, dict[str, Any]]] = {}
    dictionary: dict[int, tuple[str, list[tuple[str, str]]]] = {1: ("FrSH", []), 2: ("FrSE", [])}
    described: list[tuple[str, str]] = []
    position = 40
    while position < len(file):
        length, _, number, instance = struct.unpack_from("<QBBI", file, position)
        assert length > 14, "a structure is longer than what is common to all"
        body = _Body(file[: position + length], position + 14)
        name, fields = dictionary[number]
        values: dict[str, Any] = {}
        if name == "FrSH":
            title, described = body.one("STRING", {}), []
            dictionary[body.one("INT_2U", {})] = (title, described)
            body.one("STRING", {})
            body.one("INT_4U", {})
        elif name == "FrSE":
            described.append((body.one("STRING", {}), body.one("STRING", {})))
            body.one("STRING", {})
            body.one("INT_4U", {})
        for field, kind in fields:
            values[field] = body.one(kind, values)
        assert body.position == position + length, f"{name} has another length than its fields"
        found[position] = (name, instance, values)
        position += length
    return found


class _Body:
    def __init__(self, file: bytes, position: int) -> None:
        self.file = file
        self.position = position

    def one(self, kind: str, known: dict[str, Any]) -> Any:
        base, *dimensions = re.split(r"[\[\]]+", kind.removesuffix("]"))
        count = 1
        for dimension in dimensions:
            count *= known[dimension]
        if base == "CHAR":
            return self._take(count)
        values = [self._scalar(base) for _ in range(count)]
        return values if dimensions else values[0]

    def _scalar(self, kind: str) -> Any:
        if kind == "STRING":
            text = self._take(self._number("H"))
            assert text.endswith(b"\0")
            return text[:-1].decode()
        if kind.startswith("PTR_STRUCT"):
            return self._number("H"), self._number("I")
        return self._number(CODES[kind])

    def _number(self, code: str) -> Any:
        return struct.unpack("<" + code, self._take(struct.calcsize("<" + code)))[0]

    def _take(self, n: int) -> bytes:
        self.position += n
        assert self.position <= len(self.file)
        return self.file[self.position - n : self.position]
