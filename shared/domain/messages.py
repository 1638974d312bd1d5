"""What requests say and what they are answered, alike wherever they arrive."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from shared.domain.commit import CommitResult
from shared.domain.state import FROZEN, NOBODY, OPERATIONAL
from shared.errors import BadRequest
from shared.web.app import read_json

CLEANED = {"code": "STAT_UPD", "body": "Buffer cleaned"}

_LONGEST = 4096


def stored_answer(stored: CommitResult) -> dict[str, str]:
    """The answer to a stored segment."""
    return {"code": "RES_CREATE", "body": f"Written {stored.name} for {stored.size} bytes"}


def idempotency_key(headers: Mapping[str, str]) -> str:
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


class StatusUpdate(msgspec.Struct):
    """The body of /upddsc and of the event `freeze`: who asks, and the state wanted, by default FROZEN."""

    user: str = NOBODY
    token: str = NOBODY
    dstatus: str = FROZEN


class TrainRequest(msgspec.Struct):
    """The body of /train: who asks, and the token to record."""

    user: str
    token: str


class CleanRequest(msgspec.Struct):
    """The body of /cleanbuf; any message will do."""

    msg: str


def status_update(body: bytes) -> StatusUpdate:
    """Decode and check an update.

    Raises:
        BadRequest: the text says which field is wrong.
    """
    update = read_json(body, StatusUpdate)
    if update.dstatus not in (FROZEN, OPERATIONAL):
        raise BadRequest(f"`dstatus` must be {FROZEN} or {OPERATIONAL}")
    if max(len(update.user), len(update.token)) > _LONGEST:
        raise BadRequest(f"`user` and `token` are at most {_LONGEST} characters long")
    return update
