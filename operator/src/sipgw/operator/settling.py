"""Settling: whether a changed Secret has reached the pods that mount it."""

from typing import Final

from sipgw.runtime.clock import Clock

SETTLE_S: Final = 100.0
"""A kubelet updates mounted files within its sync period and its cache's: 90 s."""


class Settling:
    """Remembers since when a new value has been seen."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._seen: tuple[str, float] | None = None

    def has_settled(self, value: str) -> bool:
        """Return whether `value` was first seen so long ago, and no other since."""
        now = self._clock.monotonic()
        if self._seen is None or self._seen[0] != value:
            self._seen = (value, now)
        return now - self._seen[1] >= SETTLE_S
