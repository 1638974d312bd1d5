"""Datastore Logic: the Data Buffer with a policy in front of it."""

from __future__ import annotations

from shared.domain.freeze_policy import FreezePolicy
from shared.domain.state import FROZEN
from shared.errors import FlushFailed, StorageFailed
from shared.logic.data_buffer import Counts, DataBuffer
from shared.logic.log_follower import LogFollower


class DatastoreLogic:
    """What clients may do with a batch, and when. Safe to use from several threads.

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

    def freeze(self, user: str, token: str, key: str = "") -> Counts | None:
        """Freeze the batch if the policy allows it; the counts it is frozen with, or None where it has to wait.

        A batch that is frozen already, by whoever, will never grow: waiting for it would never end.
        """
        counts = self.buffer.stat()
        seconds = self.follower.update().livetime.longest_span if self.policy.min_seconds else 0.0
        if not self.policy.allows(counts.buff_size, seconds) and self.buffer.dstat().dstatus != FROZEN:
            return None
        return self.buffer.freeze(user, token, key)

    def flush(self, key: str = "") -> str:
        """File the batch away and open the next one; the text of the Data Buffer's answer.

        Raises:
            FlushFailed: the volume refused.
        """
        try:
            return self.buffer.cleanall(key)
        except StorageFailed as error:
            raise FlushFailed("Broken FS") from error
