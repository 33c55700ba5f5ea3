"""Budgets: a count for each source in any period, and a rate for all together.

Bounded memory; the caller gives the time.
"""

from collections import OrderedDict, deque


class SourceBudget:
    """Allows each source `count` in any `period_s`, for the `most_sources` heard last."""

    def __init__(self, count: int, period_s: float, most_sources: int) -> None:
        self._count = count
        self._period_s = period_s
        self._most_sources = most_sources
        self._spent: OrderedDict[str, deque[float]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._spent)

    def knows(self, source: str) -> bool:
        """Tell whether the source has been heard and not been forgotten since."""
        return source in self._spent

    def spend(self, source: str, now: float) -> bool:
        """Count one more of a source; False: that exceeds its budget, and its count starts again."""
        times = self._spent.get(source)
        if times is None:
            times = self._spent[source] = deque()
            if len(self._spent) > self._most_sources:
                self._spent.popitem(last=False)
        else:
            self._spent.move_to_end(source)
        horizon = now - self._period_s
        while times and times[0] <= horizon:
            times.popleft()
        times.append(now)
        if len(times) <= self._count:
            return True
        del self._spent[source]
        return False

    def forget(self, source: str) -> None:
        """Start a source's count again."""
        self._spent.pop(source, None)


class Rate:
    """A token bucket: `per_s` in the long run, `burst` at once."""

    def __init__(self, per_s: float, burst: float) -> None:
        self._per_s = per_s
        self._burst = burst
        self._left = burst
        self._at = float("-inf")

    def take(self, now: float) -> bool:
        """Take a token; False when none is left."""
        if self.is_spent(now):
            return False
        self._left -= 1
        return True

    def is_spent(self, now: float) -> bool:
        """Tell whether no token is left."""
        if now > self._at:
            self._left = min(self._burst, self._left + (now - self._at) * self._per_s)
            self._at = now
        return self._left < 1
