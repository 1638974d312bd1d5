"""What an operator's request to set the store's state says, checked alike wherever it arrives."""

from __future__ import annotations

import msgspec

from shared.errors import BadRequest
from shared.state import FROZEN, NOBODY, OPERATIONAL
from shared.web import read_json

_LONGEST = 4096


class Update(msgspec.Struct):
    """The body of /upddsc and of the event `freeze`: who asks, and the state wanted, by default FROZEN."""

    user: str = NOBODY
    token: str = NOBODY
    dstatus: str = FROZEN


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
