"""RetryPace: when a bot pod that could not be reached is tried again. Pure."""

from typing import Final

_SHARE: Final = 0.1
LEAST_S: Final = 0.05
MOST_S: Final = 1.0


class RetryPace:
    """The pauses between attempts to reach one pod: a tenth of the time that it has been away.

    A bot that restarts at once is thus found after its own start and a tenth of it, and one that stays away
    costs an attempt a second.
    """

    def __init__(self) -> None:
        self._away_since: float | None = None
        self.retry_at = 0.0
        """The time of the next attempt."""

    @property
    def is_away(self) -> bool:
        """Whether the last attempt failed."""
        return self._away_since is not None

    def note_failed(self, now: float) -> None:
        """Note an attempt that failed at `now`."""
        if self._away_since is None:
            self._away_since = now
        self.retry_at = now + min(max(_SHARE * (now - self._away_since), LEAST_S), MOST_S)

    def note_reached(self) -> None:
        """Note an attempt that reached the pod."""
        self._away_since = None
        self.retry_at = 0.0
