"""SlotRing: a ring of bytes for each row of a table, addressed by stream position, accessed in columns.

Positions are bytes since the row's beginning and never wrap. A slot is 10 ms of G.711. Blocks whose positions
and lengths are whole slots (nearly all) move slot by slot, others element by element.
"""

from typing import Final

import numpy as np
import numpy.typing as npt

Rows = npt.NDArray[np.integer]  # row indices, shape (n,)
PositionsI64 = npt.NDArray[np.int64]  # shape (n,)
BytesU8 = npt.NDArray[np.uint8]  # shape (n, length)

SLOT_BYTES: Final = 80


class SlotRing:
    """`rows` rings of `slots` slots each."""

    def __init__(self, rows: int, slots: int) -> None:
        self.slots = slots
        self.capacity = slots * SLOT_BYTES
        self.bytes = np.zeros((rows, slots, SLOT_BYTES), np.uint8)
        self._flat = self.bytes.reshape(rows, self.capacity)

    def write(self, rows: Rows, positions: PositionsI64, data: BytesU8) -> None:
        """Put `data` (n, length) at `positions`; rows are different, length is at most the capacity."""
        length = data.shape[1]
        if length % SLOT_BYTES == 0 and not (positions % SLOT_BYTES).any():
            slots = positions // SLOT_BYTES
            for k in range(length // SLOT_BYTES):
                self.bytes[rows, (slots + k) % self.slots] = data[:, k * SLOT_BYTES : (k + 1) * SLOT_BYTES]
        else:
            self._flat[rows[:, None], self._columns(positions, length)] = data

    def read(self, rows: Rows, positions: PositionsI64, length: int) -> BytesU8:
        """Return a copy of `length` bytes from `positions`, (n, length)."""
        if length % SLOT_BYTES == 0 and not (positions % SLOT_BYTES).any():
            out = np.empty((len(rows), length), np.uint8)
            slots = positions // SLOT_BYTES
            for k in range(length // SLOT_BYTES):
                out[:, k * SLOT_BYTES : (k + 1) * SLOT_BYTES] = self.bytes[rows, (slots + k) % self.slots]
            return out
        return self._flat[rows[:, None], self._columns(positions, length)]

    def fill(self, rows: Rows, positions: PositionsI64, length: int, values: BytesU8) -> None:
        """Set `length` bytes from `positions` to one value per row (`values`: (n,))."""
        if length % SLOT_BYTES == 0 and not (positions % SLOT_BYTES).any():
            slots = positions // SLOT_BYTES
            for k in range(length // SLOT_BYTES):
                self.bytes[rows, (slots + k) % self.slots] = values[:, None]
        else:
            self._flat[rows[:, None], self._columns(positions, length)] = values[:, None]

    def write_row(self, row: int, position: int, data: BytesU8) -> None:
        """Put `data` (length,) at `position` of one row."""
        start = position % self.capacity
        first = min(len(data), self.capacity - start)
        self._flat[row, start : start + first] = data[:first]
        self._flat[row, : len(data) - first] = data[first:]

    def take_row(self, row: int, position: int, length: int, value: int) -> BytesU8:
        """Take `length` bytes from `position` of one row (at most the capacity) and set them to `value`.

        Two slices replace the slot-by-slot steps of `read` and `fill` for one row.
        """
        start = position % self.capacity
        first = min(length, self.capacity - start)
        out = np.empty(length, np.uint8)
        for data, taken in (
            (self._flat[row, start : start + first], out[:first]),
            (self._flat[row, : length - first], out[first:]),
        ):
            taken[:] = data
            data[:] = value
        return out

    def reset_row(self, row: int, value: int) -> None:
        """Set all bytes of a row to `value`."""
        self._flat[row] = value

    def recode_row(self, row: int, table: BytesU8) -> None:
        """Replace each byte of a row by its entry in `table` (256,)."""
        self._flat[row] = table[self._flat[row]]

    def _columns(self, positions: PositionsI64, length: int) -> npt.NDArray[np.int64]:
        return (positions[:, None] + np.arange(length)) % self.capacity
