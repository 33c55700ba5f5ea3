"""How long new calls wait for a registry that is away. No I/O: the caller brings the clock.

A registry that was killed is back, or another replica answers, within seconds: callers hear nothing of it but
a later ringing. Of one that stays away the caller's carrier learns soon, and may try elsewhere.
"""

from dataclasses import dataclass
from typing import Final

_RECOVERS_S: Final = 2.0
"""So long after the registry is back it may not have heard of every relay."""


@dataclass(slots=True)
class RegistryOutage:
    """`patience_s`: how long one call waits; twice that from the beginning of the outage nobody waits."""

    patience_s: float
    _began_at: float | None = None
    _ended_at: float | None = None

    def note_unreachable(self, now: float) -> None:
        """The registry gave no answer."""
        if self._began_at is None:
            self._began_at = now
        self._ended_at = None

    def note_answered(self, now: float) -> None:
        """The registry answered something."""
        if self._began_at is not None and self._ended_at is None:
            self._ended_at = now
        if self._ended_at is not None and now - self._ended_at > _RECOVERS_S:
            self._began_at = self._ended_at = None

    def may_wait(self, asked_at: float, now: float) -> bool:
        """Whether a call that asked for its relay at `asked_at` waits for the registry."""
        if self._began_at is None:
            return False
        return now - asked_at < self.patience_s and now - self._began_at < 2 * self.patience_s
