"""AudioLateness: whether so many ticks run late that callers hear it, whatever the CPU says. Pure.

Other processes, a disk or the host may keep the relay from its core while it needs little of it. One short
stall is not lateness: callers' buffers hide it, or lose a word once.
"""

from collections import deque
from typing import Final

TICKS_A_SECOND: Final = 200
WINDOW_S: Final = 10
MOST_LATE: Final = 0.1
"""The audio is late when more than this share of the ticks of the last `WINDOW_S` ran late."""
CALM_S: Final = 5
CALM_LATE: Final = 0.05
"""It is on time again when no more than this share of the last `CALM_S` did."""


class AudioLateness:
    """Judges by the counts that `observe` gets about once a second."""

    def __init__(self) -> None:
        self.is_late = False
        self._seen: deque[tuple[int, int]] = deque()
        """Late ticks, and ticks, of each observation; the newest last."""

    @property
    def share(self) -> float:
        """The share of the ticks of the last `WINDOW_S` that ran late."""
        return self._late_within(WINDOW_S) / (WINDOW_S * TICKS_A_SECOND)

    def observe(self, late: int, ticks: int) -> None:
        """Judge anew: of the `ticks` since the last call, `late` ran late."""
        self._seen.append((late, ticks))
        while sum(ticks for _, ticks in self._seen) - self._seen[0][1] >= WINDOW_S * TICKS_A_SECOND:
            self._seen.popleft()
        if not self.is_late:
            self.is_late = self.share > MOST_LATE
        elif self._late_within(CALM_S) <= CALM_LATE * CALM_S * TICKS_A_SECOND:
            self.is_late = False
            self._seen.clear()  # an old observation must not count twice

    def _late_within(self, seconds: int) -> float:
        """Return the late ticks of the last seconds, with a part of an observation that began earlier."""
        found, left = 0.0, seconds * TICKS_A_SECOND
        for late, ticks in reversed(self._seen):
            if ticks >= left:
                return found + late * left / max(ticks, 1)
            found, left = found + late, left - ticks
        return found
