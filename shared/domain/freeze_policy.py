"""The freeze policy: when a batch may freeze."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class FreezePolicy:
    """When a batch may freeze.

    Attributes:
        max_size: the batch must hold this many bytes or more. The original's example, 2000, is one short segment;
            the default is about 4 s of strain at 4096 Hz in posts of 300 samples, which is what it takes to whiten
            a stretch and still have a spectrogram left.
        min_seconds: and one stretch of strain without a gap at least this long, in seconds; 0 asks for none.
        auto: the batch freezes by itself as soon as that is so.
    """

    min_bytes: int = 400_000
    min_seconds: float = 0.0
    auto: bool = False

    def allows(self, size: int, seconds: float = 0.0) -> bool:
        """Whether a batch of `size` bytes, its longest stretch `seconds` long, may freeze."""
        return size >= self.min_bytes and seconds >= self.min_seconds

    def progress(self, size: int, seconds: float = 0.0) -> float:
        """How far the batch has come, from 0 to 1; 1 exactly where `allows` is true."""
        parts = [size / self.min_bytes]
        if self.min_seconds:
            parts.append(seconds / self.min_seconds)
        return min(1.0, *parts)
