"""Patterns of channel names: of a regular expression the part that is a glob, as the store's /channels takes it."""

from __future__ import annotations

import re


def exactly(name: str) -> str:
    """The glob that only this name matches."""
    return re.sub(r"([*?\[])", r"[\1]", name)


def glob_of(pattern: str) -> str:
    """The glob of a pattern: a regular expression from outside could take for ever.

    An expression may have `.*`, `.`, escaped characters, and `^` and `$` at its ends. Without `$` it matches names that
    begin with it.

    Raises:
        ValueError: it has more than that.
    """
    text = pattern.removeprefix("^")
    open_end = not text.endswith("$") or text.endswith("\\$")
    glob = ""
    for part in re.findall(r"\.\*|\\.|.", text if open_end else text[:-1], re.DOTALL):
        if part in (".*", "."):
            glob += "*" if part == ".*" else "?"
        elif part in "*+?()[]{}|^$\\":
            raise ValueError("`pattern` is a name, in which .* stands for any text")
        else:
            glob += exactly(part[-1])
    return f"{glob}*" if open_end and not glob.endswith("*") else glob
