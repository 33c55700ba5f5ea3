"""The relays as columns: start times, calls, drains. The lowest are filled first, as by the registry."""

import numpy as np
import numpy.typing as npt

Calls = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]


class Fleet:
    """Relays 0 to `total` - 1 exist; columns are longer."""

    def __init__(self, *, most: int, capacity: int, start_s: float, total: int, seed: int) -> None:
        self.capacity = capacity
        self.start_s = start_s
        self.total = total
        self.calls: Calls = np.zeros(most, dtype=np.int64)
        self.up_at = np.full(most, -1e9)
        self.draining: Flags = np.zeros(most, dtype=bool)
        self.draining_since = np.zeros(most)
        self._random = np.random.default_rng(seed)

    def is_up(self, now: float) -> Flags:
        """Return which of the existing relays are up."""
        return self.up_at[: self.total] <= now

    def grow(self, total: int, now: float) -> None:
        """Add relays; they are up after `start_s`."""
        self.up_at[self.total : total] = now + self.start_s
        self.draining[self.total : total] = False
        self.total = max(self.total, total)

    def shrink(self, total: int) -> int:
        """Remove the highest relays; return the calls that were on them."""
        lost = int(self.calls[total : self.total].sum())
        self.calls[total : self.total] = 0
        self.draining[total : self.total] = False
        self.total = min(self.total, total)
        return lost

    def drain(self, numbers: npt.ArrayLike, now: float) -> None:
        """Stop new calls for these."""
        self.draining[numbers] = True
        self.draining_since[numbers] = now

    def end_calls(self, hold_s: float, step_s: float) -> None:
        """End calls at random, after `hold_s` on average."""
        ends = self._random.binomial(self.calls[: self.total], 1 - np.exp(-step_s / hold_s))
        self.calls[: self.total] -= ends

    def place(self, calls: int, now: float) -> int:
        """Place calls; return how many found no room."""
        takes = self.is_up(now) & ~self.draining[: self.total]
        room = np.where(takes, self.capacity - self.calls[: self.total], 0)
        filled = np.minimum(np.cumsum(room), calls)
        self.calls[: self.total] += np.diff(filled, prepend=0)
        return calls - int(filled[-1]) if len(filled) else calls

    def move(self, share: float, now: float) -> int:
        """Move `share` of the calls of draining relays, those in a pause of speech; return how many moved."""
        sources = np.flatnonzero(self.draining[: self.total] & (self.calls[: self.total] > 0))
        if not len(sources):
            return 0
        leaving = np.ceil(self.calls[sources] * share).astype(np.int64)
        wanted = int(leaving.sum())
        kept = self.place(wanted, now)
        self.calls[sources] -= leaving
        for number, count in zip(sources[::-1], leaving[::-1], strict=True):
            back = min(kept, int(count))  # without room they stay
            self.calls[number] += back
            kept -= back
        return wanted - kept
