"""SetupRate: how many calls began per second, over the last whole seconds, in a ring of counts."""

from collections.abc import Callable
from typing import Final

WINDOW_S: Final = 10


class SetupRate:
    """Counts events and reports their mean rate over the last `WINDOW_S` complete seconds."""

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._counts = [0] * (WINDOW_S + 1)  # one more: the present second
        self._second = int(monotonic())

    def note(self) -> None:
        """Count one event now."""
        self._turn()
        self._counts[self._second % len(self._counts)] += 1

    def per_second(self) -> float:
        """Return the mean."""
        self._turn()
        running = self._counts[self._second % len(self._counts)]
        return (sum(self._counts) - running) / WINDOW_S

    def _turn(self) -> None:
        """Clear the seconds that passed since the last look."""
        now = int(self._monotonic())
        for second in range(max(self._second, now - len(self._counts)) + 1, now + 1):
            self._counts[second % len(self._counts)] = 0
        self._second = max(now, self._second)
