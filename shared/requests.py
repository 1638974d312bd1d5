"""What requests say and what they are answered, alike wherever they arrive."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from shared.errors import BadRequest
from shared.state import FROZEN, NOBODY, OPERATIONAL
from shared.submission import Verdict
from shared.web import read_json

CLEANED = {"code": "STAT_UPD", "body": "Buffer cleaned"}

_LONGEST = 4096


def written(stored: Verdict) -> dict[str, str]:
    """The answer to a stored segment."""
    return {"code": "RES_CREATE", "body": f"Written {stored.name} for {stored.size} bytes"}


def read_key(headers: Mapping[str, str]) -> str:
    """The idempotency key of a request, empty where there is none.

    Raises:
        BadRequest: it is too long to be kept, or cannot be passed on as it is.
    """
    key = headers.get("idempotency-key", "")
    if len(key) > 256:
        raise BadRequest("Idempotency-Key is longer than 256 characters")
    if not (key.isascii() and key.isprintable()):
        raise BadRequest("Idempotency-Key must be printable ASCII")
    return key


class Update(msgspec.Struct):
    """The body of /upddsc and of the event `freeze`: who asks, and the state wanted, by default FROZEN."""

    user: str = NOBODY
    token: str = NOBODY
    dstatus: str = FROZEN


class Operator(msgspec.Struct):
    """The body of /train: who asks, and the token to record."""

    user: str
    token: str


class Message(msgspec.Struct):
    """The body of /cleanbuf; any message will do."""

    msg: str


def read_update(body: bytes) -> Update:
    """Decode and check an update.

    Raises:
        BadRequest: the text says which field is wrong.
    """
    update = read_json(body, Update)
    if update.dstatus not in (FROZEN, OPERATIONAL):
        raise BadRequest(f"`dstatus` must be {FROZEN} or {OPERATIONAL}")
    if max(len(update.user), len(update.token)) > _LONGEST:
        raise BadRequest(f"`user` and `token` are at most {_LONGEST} characters long")
    return update
