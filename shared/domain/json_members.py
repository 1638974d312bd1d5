"""Members of JSON objects that stand twice: parsers differ in which one they read, so neither can be trusted."""

from __future__ import annotations

import json


def repeated_member(body: bytes) -> str | None:
    """The name of a member that stands twice in the outermost object; None where there is none.

    Args:
        body: valid JSON.
    """
    found: list[str] = []
    outermost: list[tuple[str, object]] = []

    def note(pairs: list[tuple[str, object]]) -> None:
        outermost[:] = pairs  # objects are finished from the inside out: the outermost comes last

    json.loads(body, object_pairs_hook=note)
    for name, _ in outermost:
        if name in found:
            return name
        found.append(name)
    return None
