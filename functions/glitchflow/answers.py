"""The answers of GlitchflowAPI, as the OpenAPI document describes them."""

from __future__ import annotations

from typing import Literal

import msgspec


class Desc(msgspec.Struct):
    """Status of the batch: OPERATIONAL if it takes segments."""

    resp: Literal["OPERATIONAL", "FROZEN"]


class Trained(msgspec.Struct, omit_defaults=True):
    """FROZEN: the batch is closed, with `n_f` files of `bt_wrt` bytes. WAITING: it is not large enough yet.

    A repeated request gets the state now, OPERATIONAL after a cleanall, and the `batch` that it froze.
    """

    resp: Literal["FROZEN", "WAITING", "OPERATIONAL"]
    n_f: int = 0
    bt_wrt: int = 0
    batch: int = 0


class Streamed(msgspec.Struct):
    """CREATED: stored, durable and counted. FROZEN: not stored; the batch is closed until it is cleaned."""

    resp: Literal["CREATED", "FROZEN"]
    body: str


class Cleaned(msgspec.Struct):
    """CLEANED: the batch is archived and the next one open. FS ERR: the volume refused."""

    resp: Literal["CLEANED", "FS ERR"]
    body: str
