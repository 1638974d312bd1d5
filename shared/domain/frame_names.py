"""File names of strain after LIGO-T050017: `<observatory>-<frametype>-<GPS start>-<seconds>.<extension>`."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from functools import lru_cache
from math import ceil, floor

_FORBIDDEN = re.compile(r"[^A-Za-z0-9_+#]")

Key = tuple[str, str, float]


def observatory(detector: str) -> str:
    """The letter of an observatory: the first of the detector's name, X without one."""
    letter = detector[:1].upper()
    return letter if letter.isascii() and letter.isalpha() else "X"


@lru_cache(maxsize=1 << 16)
def frametype(detector: str, channel: str) -> str:
    """The frametype of a channel: its name, with `_` for what a file's name cannot hold."""
    return _FORBIDDEN.sub("_", channel or detector or "strain")


def with_rate(name: str, rate: float) -> str:
    """A frametype that tells the rate too, as `V1_Hrec_4096HZ`."""
    return f"{name}_{_FORBIDDEN.sub('_', f'{rate:.12g}')}HZ"


def frametypes(keys: Iterable[Key]) -> dict[Key, str]:
    """The frametype of each stream, with its rate where several of an observatory would have the same."""
    plain = {key: (observatory(key[0]), frametype(key[0], key[1])) for key in keys}
    count = Counter(plain.values())
    return {key: name if count[letter, name] == 1 else with_rate(name, key[2]) for key, (letter, name) in plain.items()}


def frame_file(detector: str, channel: str, begin: float, end: float, extension: str) -> str:
    """A file's name; a span between whole seconds is rounded outwards."""
    whole = floor(begin)
    return f"{observatory(detector)}-{frametype(detector, channel)}-{whole}-{max(ceil(end) - whole, 1)}.{extension}"
