"""When a queue's depth is excess: the rule by which a backlog never becomes latency and a burst is never
cut.

A stream that comes at real time (0.9 to 1.1 times) and whose queue in one second never fell to its target
has a standing backlog, left by a pause of its sender or of us: that minimum, less the target, is owed and
nothing more. What comes faster (a burst of speech) or not at all (its end) is no backlog. The debt is paid
in quiet frames; what a row's patience has not paid is paid by every second frame.

A queue that is full holds its sender back: then a burst too comes at real time, as fast as there is room,
and is no backlog either.
"""

from typing import Final

import numpy as np
import numpy.typing as npt

Rows = npt.NDArray[np.integer]
BytesI64 = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]

_FAR: Final = 1 << 62
_SLOWEST, _FASTEST = 0.9, 1.1
_SPEAKING: Final = 0.5  # of real time: below it speech is ending
HALF_WINDOW_S: Final = 0.5
PATIENCE_S: Final = 0.5
IMPATIENCE_S: Final = 0.1


class ExcessWatch:
    """Depth and arrivals of each row over windows of one second, and what each row owes.

    Depths and arrivals are in bytes; `bytes_per_s` is real time (8000 for G.711); a queue of `full_bytes`
    and more holds its sender back. `now_s` may be of any clock.
    """

    def __init__(
        self, rows: int, *, target_bytes: int, full_bytes: int = _FAR, bytes_per_s: int = 8000
    ) -> None:
        self._target = target_bytes
        self._full = full_bytes
        self._was_full = np.zeros(rows, np.bool_)
        self._real_time = bytes_per_s
        self._window_start = np.zeros(rows)
        self._minimum = np.full(rows, _FAR, np.int64)
        self._arrived = np.zeros(rows, np.int64)
        # The half window before: a judgement is about both, so about the last second, twice a second.
        self._elapsed_before = np.zeros(rows)
        self._minimum_before = np.full(rows, _FAR, np.int64)
        self._arrived_before = np.zeros(rows, np.int64)
        self._was_full_before = np.zeros(rows, np.bool_)
        self.debt = np.zeros(rows, np.int64)  # bytes still to be dropped, per row
        self._owed_since = np.zeros(rows)
        self._patience = np.full(rows, PATIENCE_S)
        self._turn = np.zeros(rows, np.bool_)

    def reset(self, row: int, now_s: float, *, patience_s: float = PATIENCE_S) -> None:
        """Watch a row anew; so long it pays in quiet frames only."""
        self._patience[row] = patience_s
        self._open_windows(np.array([row]), now_s)
        self._elapsed_before[row] = 0
        self.debt[row] = 0

    def arrived(self, rows: Rows, count: BytesI64 | int) -> None:
        """`count` bytes joined the queues of `rows` (different rows)."""
        self._arrived[rows] += count

    def observe(self, rows: Rows, depths: BytesI64, now_s: float) -> None:
        """What is left in the queues after a period's frame was taken; call it for each period."""
        self._minimum[rows] = np.minimum(self._minimum[rows], depths)
        self._was_full[rows] |= depths >= self._full
        elapsed = now_s - self._window_start[rows]
        over = elapsed >= HALF_WINDOW_S
        if over.any():
            self._judge(rows[over], elapsed[over], now_s)

    def may_drop(self, rows: Rows, quiet: Mask, now_s: float) -> Mask:
        """Which of these rows, all in debt, shall drop the frame at the head of their queue now."""
        impatient = now_s - self._owed_since[rows] >= self._patience[rows]
        self._turn[rows] ^= True
        return quiet | (impatient & self._turn[rows])

    def dropped(self, rows: Rows, count: BytesI64 | int) -> None:
        self.debt[rows] = np.maximum(self.debt[rows] - count, 0)

    def forgive(self, row: int) -> None:
        """The queue was emptied: nothing is owed."""
        self.debt[row] = 0
        self._minimum[row] = self._minimum_before[row] = 0

    def _judge(self, rows: Rows, elapsed: npt.NDArray[np.float64], now_s: float) -> None:
        second = elapsed + self._elapsed_before[rows]
        rate = (self._arrived[rows] + self._arrived_before[rows]) / (second * self._real_time)
        excess = np.minimum(self._minimum[rows], self._minimum_before[rows]) - self._target
        whole = (self._elapsed_before[rows] > 0) & (second < 3 * HALF_WINDOW_S)
        owes = whole & (excess > 0) & (rate >= _SLOWEST) & (rate <= _FASTEST)
        owes &= ~(self._was_full[rows] | self._was_full_before[rows])
        fresh = owes & (self.debt[rows] == 0)
        self._owed_since[rows[fresh]] = now_s
        # A second that can't be judged (a stall of anybody's) forgives what it shows to be gone and no more;
        # the end of speech and a sender held back forgive all.
        debt = self.debt[rows]
        lasting = (rate > _SPEAKING) & ~(self._was_full[rows] | self._was_full_before[rows])
        kept = np.where(lasting, np.clip(excess, 0, debt), 0)
        self.debt[rows] = np.where(owes, excess, kept)
        self._elapsed_before[rows] = elapsed
        self._minimum_before[rows] = self._minimum[rows]
        self._arrived_before[rows] = self._arrived[rows]
        self._was_full_before[rows] = self._was_full[rows]
        self._open_windows(rows, now_s)

    def _open_windows(self, rows: Rows, now_s: float) -> None:
        self._window_start[rows] = now_s
        self._minimum[rows] = _FAR
        self._arrived[rows] = 0
        self._was_full[rows] = False
