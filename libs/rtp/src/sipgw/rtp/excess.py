"""Excess depth of a queue: how a backlog never becomes latency and a burst is never cut.

A stream that arrives at real time (0.9 to 1.1 times) and whose queue in one second never fell to its target
has a standing backlog, left by a pause of its sender or of us. That minimum, less the target, is dropped, and
nothing more. A faster arrival (a burst of speech), or none (its end), is no backlog. Quiet frames are dropped
first; when a row's patience is over, every second frame is dropped.

A full queue holds its sender back. Then a burst too arrives at real time, as fast as there is room, and is no
backlog either.
"""

from typing import Any, Final

import numpy as np
import numpy.typing as npt

from sipgw.rtp.kernels.columns import FAR

Rows = npt.NDArray[np.integer]
BytesI64 = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]
SecondsF64 = npt.NDArray[np.float64]

_SLOWEST, _FASTEST = 0.9, 1.1
_SPEAKING: Final = 0.5  # of real time: below it speech is ending
HALF_WINDOW_S: Final = 0.5
PATIENCE_S: Final = 0.5
IMPATIENCE_S: Final = 0.1


class ExcessWatch:
    """Depth and arrivals of each row over windows of one second, and the bytes that each row must drop.

    Depths and arrivals are in bytes; `bytes_per_s` is real time (8000 for G.711); a queue of `full_bytes` or
    more holds its sender back. `now_s` may be of any clock.
    """

    def __init__(
        self,
        columns: npt.NDArray[Any],
        *,
        target_bytes: int,
        full_bytes: int = FAR,
        bytes_per_s: int = 8000,
    ) -> None:
        """Take `columns`: an array of `EXCESS`, one record a row."""
        self._target = target_bytes
        self._full = full_bytes
        self._was_full: Mask = columns["was_full"]
        self._real_time = bytes_per_s
        self._window_start: SecondsF64 = columns["window_start"]
        self._minimum: BytesI64 = columns["minimum"]
        self._arrived: BytesI64 = columns["arrived"]
        # The half window before: each judgement covers both halves, the last second, and is made twice a
        # second.
        self._elapsed_before: SecondsF64 = columns["elapsed_before"]
        self._minimum_before: BytesI64 = columns["minimum_before"]
        self._arrived_before: BytesI64 = columns["arrived_before"]
        self._was_full_before: Mask = columns["was_full_before"]
        self.debt: BytesI64 = columns["debt"]
        """Bytes still to be dropped, per row."""
        self._owed_since: SecondsF64 = columns["owed_since"]
        self._patience: SecondsF64 = columns["patience"]
        self._turn: Mask = columns["turn"]
        self._minimum[:] = self._minimum_before[:] = FAR
        self._patience[:] = PATIENCE_S

    def reset(self, row: int, now_s: float, *, patience_s: float = PATIENCE_S) -> None:
        """Begin to watch a row anew; only quiet frames are dropped for `patience` seconds."""
        self._patience[row] = patience_s
        self._open_windows(np.array([row]), now_s)
        self._elapsed_before[row] = 0
        self.debt[row] = 0

    def arrived(self, rows: Rows, count: BytesI64 | int) -> None:
        """Note that `count` bytes joined the queues of `rows` (different rows)."""
        self._arrived[rows] += count

    def observe(self, rows: Rows, depths: BytesI64, now_s: float) -> None:
        """Note the depth of the queues after a period's frame was taken; call this for each period."""
        self._minimum[rows] = np.minimum(self._minimum[rows], depths)
        self._was_full[rows] |= depths >= self._full
        elapsed = now_s - self._window_start[rows]
        over = elapsed >= HALF_WINDOW_S
        if over.any():
            self._judge(rows[over], elapsed[over], now_s)

    def may_drop(self, rows: Rows, quiet: Mask, now_s: float) -> Mask:
        """Return which of these rows, all in debt, drop the frame at the head of their queue now."""
        impatient = now_s - self._owed_since[rows] >= self._patience[rows]
        self._turn[rows] ^= True
        return quiet | (impatient & self._turn[rows])

    def dropped(self, rows: Rows, count: BytesI64 | int) -> None:
        """Note that `count` bytes of `rows` were dropped."""
        self.debt[rows] = np.maximum(self.debt[rows] - count, 0)

    def forgive(self, row: int) -> None:
        """Clear the debt since the queue was emptied."""
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
        # A second that can't be judged (after a stall) forgives only the part of the debt that has gone; the
        # end of speech and a sender held back forgive all.
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
        self._minimum[rows] = FAR
        self._arrived[rows] = 0
        self._was_full[rows] = False
