"""How long new calls wait for a registry that is away. No I/O: the caller gives the time.

A registry that was killed returns within seconds, or another replica takes its requests: the caller only
hears a later ringing. If the registry stays away, the caller's carrier has to learn it soon enough to try
elsewhere.
"""

from dataclasses import dataclass
from typing import Final

_RECOVERS_S: Final = 2.0
"""For so long after its return the registry may not know every relay yet."""


@dataclass(slots=True)
class RegistryOutage:
    """`patience_s`: how long one call waits. After an outage of twice that no call waits."""

    patience_s: float
    _began_at: float | None = None
    _ended_at: float | None = None

    def note_unreachable(self, now: float) -> None:
        """Note that a request to the registry got no response."""
        if self._began_at is None:
            self._began_at = now
        self._ended_at = None

    def note_answered(self, now: float) -> None:
        """Note that the registry responded."""
        if self._began_at is not None and self._ended_at is None:
            self._ended_at = now
        if self._ended_at is not None and now - self._ended_at > _RECOVERS_S:
            self._began_at = self._ended_at = None

    def may_wait(self, asked_at: float, now: float) -> bool:
        """Tell whether a call that first asked for a relay at `asked_at` may still wait for the registry."""
        if self._began_at is None:
            return False
        return now - asked_at < self.patience_s and now - self._began_at < 2 * self.patience_s
