"""Datastore Logic: a freeze policy in front of the Data Buffer."""

from __future__ import annotations

from shared.domain.commit import Committed
from shared.domain.freeze_policy import FreezePolicy
from shared.domain.request_key import ANONYMOUS, Origin
from shared.domain.state import FROZEN
from shared.errors import FlushFailed, StorageFailed
from shared.logic.data_buffer import DataBuffer
from shared.logic.log_follower import LogFollower


class DatastoreLogic:
    """A `LogicAPI` over a Data Buffer. Safe to use from several threads.

    Args:
        buffer: the Data Buffer, in this process or across HTTP.
        policy: when a batch may freeze.
    """

    def __init__(self, buffer: DataBuffer, policy: FreezePolicy) -> None:
        self.buffer = buffer
        self.policy = policy
        self.follower = LogFollower(buffer)
        self.stat = buffer.stat
        self.dstat = buffer.dstat
        self.names = buffer.names
        self.log = buffer.log
        self.send = buffer.send

    def freeze(self, user: str, token: str, origin: Origin = ANONYMOUS, batch: int | None = None) -> Committed | None:
        """Freeze the batch if the policy allows it; return its counts and state, or None if it is too small.

        A frozen batch is frozen again whatever its size, because it will never grow.

        Raises:
            BatchChanged: another batch is open than `batch`.
        """
        counts = self.buffer.stat()
        seconds = self.follower.update().longest if self.policy.min_seconds else 0.0
        if not self.policy.allows(counts.bytes, seconds) and self.buffer.dstat().status != FROZEN:
            return None
        return self.buffer.freeze(user, token, origin, batch)

    def flush(self, origin: Origin = ANONYMOUS, batch: int | None = None) -> str:
        """Archive the batch and open the next one; return the text of the Data Buffer's answer.

        Raises:
            BatchChanged: another batch is open than `batch`.
            FlushFailed: the volume refused.
        """
        try:
            return self.buffer.cleanall(origin, batch)
        except StorageFailed as error:
            raise FlushFailed("Broken FS") from error
