"""CallColumns: each row's state for the bot streams: its stream, its format, its unplayed speech."""

from collections.abc import Iterator
from typing import Final, cast

import numpy as np
import numpy.typing as npt

from sipgw.media_relay.streams.bot_call import BytesU64, HandlesU32

# Row indices, intp, shape (n,).
Rows = npt.NDArray[np.intp]

MAX_ROWS: Final = 65536
NO_STREAM: Final = -1
"""Not attached, so that audio is dropped."""
OWN_STREAM: Final = -2
"""The call has a StreamCall of its own."""
ROW_MASK: Final = np.uint32(0xFFFF)
_CREDIT_PARTS: Final = 8
"""Room is given back in eighths of the limit."""


def listed(numbers: npt.NDArray[np.integer]) -> list[int]:
    """Return the numbers as Python numbers."""
    return cast("list[int]", numbers.tolist())


def groups(numbers: npt.NDArray[np.integer]) -> Iterator[tuple[int, npt.NDArray[np.bool_] | None]]:
    """Yield each value once, as a Python number, and where it stands; None: everywhere, as mostly.

    `np.unique` is not used: its first call imports numpy.ma, which stalls the tick for 50 ms.
    """
    if not len(numbers):
        return
    at_first = numbers == numbers[0]
    if at_first.all():
        yield int(numbers[0]), None
        return
    for number in sorted(set(listed(numbers))):
        yield number, numbers == number


class CallColumns:
    """One entry per row, valid for the calls that are open."""

    def __init__(self) -> None:
        self.handle = np.zeros(MAX_ROWS, dtype=np.uint32)
        self.is_open = np.zeros(MAX_ROWS, dtype=np.bool_)
        self.stream = np.full(MAX_ROWS, NO_STREAM, dtype=np.int32)
        """The number of the row's trunk, or one of the constants above."""
        self.format_id = np.zeros(MAX_ROWS, dtype=np.uint32)
        self.delivered = np.zeros(MAX_ROWS, dtype=np.uint64)
        """Bytes of speech given to the session since `open`."""
        self.consumed = np.zeros(MAX_ROWS, dtype=np.uint64)
        """Bytes of those that were played or dropped."""
        self.reported = np.zeros(MAX_ROWS, dtype=np.uint64)
        """Bytes of those that the bot was told of."""
        self.limit = np.zeros(MAX_ROWS, dtype=np.uint64)
        """Bytes that may be unplayed."""
        self.is_waiting = np.zeros(MAX_ROWS, dtype=np.bool_)
        """Whether a reader stopped for want of room."""
        self.is_kept = np.zeros(MAX_ROWS, dtype=np.bool_)
        """Whether the caller's audio is kept for a bot that is away, or waits behind kept audio."""
        self.kept = 0
        """The number of rows whose audio is kept."""
        self._position = np.zeros(MAX_ROWS, dtype=np.int64)

    def open(self, row: int, handle: int, *, format_id: int, limit: int) -> None:
        """Reset the row for a new call."""
        self.handle[row] = handle
        self.is_open[row] = True
        self.stream[row] = NO_STREAM
        self.format_id[row] = format_id
        self.limit[row] = limit
        for column in (self.delivered, self.consumed, self.reported):
            column[row] = 0
        self.is_waiting[row] = False
        self.release(row)

    def close(self, row: int) -> None:
        """Mark the row as free."""
        self.is_open[row] = False
        self.stream[row] = NO_STREAM
        self.release(row)

    def keep(self, row: int) -> None:
        """Keep the caller's audio from now on."""
        self.kept += not self.is_kept[row]
        self.is_kept[row] = True

    def release(self, row: int) -> None:
        """Send the caller's audio from now on."""
        self.kept -= bool(self.is_kept[row])
        self.is_kept[row] = False

    def rows_of(self, handles: HandlesU32) -> tuple[Rows, npt.NDArray[np.bool_]]:
        """Return the rows of handles, and which of them are open under that very handle."""
        rows = (handles & ROW_MASK).astype(np.intp)
        return rows, self.is_open[rows] & (self.handle[rows] == handles)

    def are_distinct(self, rows: Rows) -> bool:
        """Return whether no row comes twice, without sorting."""
        order = np.arange(len(rows))
        self._position[rows] = order
        return bool((self._position[rows] == order).all())

    def room(self, row: int) -> int:
        """Return the bytes of speech that the session still has room for."""
        return int(self.limit[row]) - (int(self.delivered[row]) - int(self.consumed[row]))

    def consume(self, handles: HandlesU32, total_bytes: BytesU64) -> Rows:
        """Note the consumed speech; return the rows whose bot is due a report."""
        rows, known = self.rows_of(handles)
        rows, total = rows[known], total_bytes[known]
        self.consumed[rows] = np.maximum(self.consumed[rows], np.minimum(total, self.delivered[rows]))
        gained = self.consumed[rows] - self.reported[rows]
        due = (gained * _CREDIT_PARTS >= self.limit[rows]) | self.is_waiting[rows]
        return rows[due]
