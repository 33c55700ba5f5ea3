"""JitterBuffer: a ring addressed by timestamp for each caller, target depth 0, for many callers at once.

A packet's timestamp says where its bytes belong, so order, packet time and duplicates do not matter. Frames
are taken by the relay's clock. A packet that is too late for its frame moves the reading point back to itself
when nothing newer was played since. So a late burst is heard whole, and the excess rule removes the delay
that it leaves. G.711 only: one byte is one sample, 8000 a second.
"""

from typing import Final

import numpy as np
import numpy.typing as npt

from sipgw.rtp.excess import ExcessWatch
from sipgw.rtp.slot_ring import SLOT_BYTES, SlotRing

Rows = npt.NDArray[np.integer]
TimestampsU32 = npt.NDArray[np.uint32]
BytesU8 = npt.NDArray[np.uint8]
Mask = npt.NDArray[np.bool_]
PositionsI64 = npt.NDArray[np.int64]

SLOTS: Final = 128  # 1.28 s
LATE_LIMIT: Final = 4000  # bytes: packets more than 0.5 s late are lost
LATE_RUN_LIMIT: Final = 5  # after so many lost in a row the sender's timestamps have jumped
FAR: Final = 80_000  # a distance that no network causes: 10 s


class JitterBuffer:
    """Columns for `rows` callers. All rows in one call of a method are different."""

    def __init__(self, rows: int) -> None:
        self._ring = SlotRing(rows, SLOTS)
        self._filled = np.zeros((rows, SLOTS), np.int16)  # bytes that packets brought, per slot
        self._silence = np.zeros(rows, np.uint8)
        self._mapped = np.zeros(rows, np.bool_)  # whether a timestamp has a position
        self._reference_timestamp = np.zeros(rows, np.uint32)
        self._reference = np.zeros(rows, np.int64)  # the position of that timestamp
        self._head = np.zeros(rows, np.int64)  # the next position to be taken
        self._end = np.zeros(rows, np.int64)  # after the newest byte
        self._heard = np.zeros(rows, np.int64)  # after the newest byte taken
        self._late_run = np.zeros(rows, np.int32)
        self.late = np.zeros(rows, np.int64)  # packets that came too late, per row
        self.excess = ExcessWatch(rows, target_bytes=0)

    def open(self, row: int, *, silence: int, now_s: float) -> None:
        """Begin a row anew; `silence` is the codec's byte for it."""
        self._silence[row] = silence
        self._ring.reset_row(row, silence)
        self._filled[row] = 0
        self._mapped[row] = False
        for column in (self._head, self._end, self._heard, self._late_run, self.late):
            column[row] = 0
        self.excess.reset(row, now_s)

    def recode(self, row: int, table: BytesU8) -> None:
        """Go on in another codec; `table` (256,) converts the bytes that wait."""
        self._silence[row] = table[self._silence[row]]
        self._ring.recode_row(row, table)

    def resynchronize(self, rows: Rows) -> None:
        """Accept new timestamps from the sender (another SSRC).

        The next packet follows the bytes already here.
        """
        self._mapped[rows] = False

    def depth(self, rows: Rows) -> PositionsI64:
        """Return the bytes between the reading point and the newest byte, holes included."""
        return np.maximum(self._end[rows] - self._head[rows], 0)

    def has_frame(self, rows: Rows, length: int) -> Mask:
        """Return whether a packet has filled every slot of the next `length` bytes."""
        first = self._slot(self._head[rows])
        there = self._filled[rows, first] > 0
        for k in range(1, -(-length // SLOT_BYTES)):
            there &= self._filled[rows, (first + k) % SLOTS] > 0
        return there

    def write(self, rows: Rows, timestamps: TimestampsU32, payload: BytesU8) -> None:
        """Put one packet's payload for each row in its place; all are (n, length) with one length > 0."""
        length = payload.shape[1]
        self._map(rows, timestamps)
        step = (timestamps - self._reference_timestamp[rows]).view(np.int32).astype(np.int64)
        positions = self._reference[rows] + step
        ahead = positions - self._head[rows]
        ordinary = (ahead >= 0) & (ahead + length <= self._ring.capacity)
        if not ordinary.all():
            positions, kept = self._place_extraordinary(rows, timestamps, positions, length)
            rows, timestamps, positions, payload = (
                rows[kept],
                timestamps[kept],
                positions[kept],
                payload[kept],
            )
            if not len(rows):
                return
        self._late_run[rows] = 0
        newer = positions >= self._reference[rows]
        self._reference[rows] = np.where(newer, positions, self._reference[rows])
        self._reference_timestamp[rows] = np.where(newer, timestamps, self._reference_timestamp[rows])
        self._ring.write(rows, positions, payload)
        self._count(rows, positions, length)
        self._end[rows] = np.maximum(self._end[rows], positions + length)
        self.excess.arrived(rows, length)

    def take(self, rows: Rows, length: int, now_s: float) -> tuple[BytesU8, Mask]:
        """Return the next `length` bytes of each row, and which rows are concealed since no packet came."""
        heads = self._head[rows]
        payload = self._ring.read(rows, heads, length)
        filled = self._take_counts(rows, heads, length)
        concealed = filled == 0
        held = ~concealed
        if held.all():
            self._ring.fill(rows, heads, length, self._silence[rows])
            self._heard[rows] = heads + length
        elif held.any():
            self._ring.fill(rows[held], heads[held], length, self._silence[rows[held]])
            self._heard[rows[held]] = heads[held] + length
        self._head[rows] = heads + length
        self.excess.observe(rows, self.depth(rows), now_s)
        return payload, concealed

    def peek(self, rows: Rows, length: int) -> BytesU8:
        """Return the next `length` bytes of each row without taking them."""
        return self._ring.read(rows, self._head[rows], length)

    def skip(self, rows: Rows, length: int) -> None:
        """Drop the next `length` bytes (at most the capacity) of each row."""
        heads = self._head[rows]
        self._take_counts(rows, heads, length)
        self._ring.fill(rows, heads, length, self._silence[rows])
        self._head[rows] = heads + length
        self._heard[rows] = heads + length

    def leap(self, rows: Rows, distances: PositionsI64) -> None:
        """Drop bytes of each row, in slots by `distances` (n,), for time that was lost."""
        slots = distances // SLOT_BYTES
        heads = self._head[rows]
        for k in range(int(min(slots.max(), SLOTS))):
            there = slots > k
            some = rows[there]
            at = self._slot(heads[there] + k * SLOT_BYTES)
            self._filled[some, at] = 0
            self._ring.bytes[some, at] = self._silence[some][:, None]
        self._head[rows] = heads + slots * SLOT_BYTES
        self._heard[rows] = self._head[rows]

    def _map(self, rows: Rows, timestamps: TimestampsU32) -> None:
        """Give a position to rows whose timestamps begin anew: after all their bytes, at a slot's border."""
        unmapped = ~self._mapped[rows]
        if unmapped.any():
            new = rows[unmapped]
            after = np.maximum(self._head[new], self._end[new])
            self._reference[new] = -(-after // SLOT_BYTES) * SLOT_BYTES
            self._reference_timestamp[new] = timestamps[unmapped]
            self._mapped[new] = True

    def _place_extraordinary(
        self, rows: Rows, timestamps: TimestampsU32, positions: PositionsI64, length: int
    ) -> tuple[PositionsI64, Mask]:
        """Return the positions of packets, some of them late or far ahead, and which are kept."""
        heads = self._head[rows]
        ahead = positions - heads
        late = ahead < 0
        lost = late & ((ahead < -LATE_LIMIT) | (positions < self._heard[rows]))
        self.late[rows[lost]] += 1
        self._late_run[rows[lost]] += 1
        jumped = (ahead + length > self._ring.capacity) | (ahead < -FAR)
        jumped |= lost & (self._late_run[rows] >= LATE_RUN_LIMIT)
        if jumped.any():
            leapt = rows[jumped]
            self._mapped[leapt] = False
            self._map(leapt, timestamps[jumped])
            positions = positions.copy()
            # The bytes here already leave no room: begin at the reading point.
            crowded = self._reference[leapt] + length - self._head[leapt] > self._ring.capacity
            self._reference[leapt] = np.where(crowded, self._head[leapt], self._reference[leapt])
            positions[jumped] = self._reference[leapt]
        back = late & ~lost & ~jumped
        room = self._end[rows] - positions <= self._ring.capacity
        back &= room
        if back.any():
            behind = heads[back] - positions[back]
            self._head[rows[back]] -= -(-behind // SLOT_BYTES) * SLOT_BYTES
        kept = ~late | back | jumped
        return positions, kept

    def _count(self, rows: Rows, positions: PositionsI64, length: int) -> None:
        """Add each packet's bytes to the slots they fell into."""
        first = self._slot(positions)
        into = positions % SLOT_BYTES
        if length % SLOT_BYTES == 0 and not into.any():
            for k in range(length // SLOT_BYTES):
                self._filled[rows, (first + k) % SLOTS] = SLOT_BYTES
            return
        begun = np.zeros(len(rows), np.int64)
        for k in range((length + SLOT_BYTES - 1) // SLOT_BYTES + 1):
            slot_end = np.minimum((k + 1) * SLOT_BYTES - into, length)
            slots = (first + k) % SLOTS
            self._filled[rows, slots] += np.maximum(slot_end - begun, 0).astype(np.int16)
            begun = np.maximum(slot_end, begun)

    def _take_counts(self, rows: Rows, heads: PositionsI64, length: int) -> npt.NDArray[np.int32]:
        """Return how many bytes packets brought for the next `length`, and clear the counts.

        Counts are of whole slots.
        """
        filled = np.zeros(len(rows), np.int32)
        first = self._slot(heads)
        for k in range(-(-length // SLOT_BYTES)):
            slots = (first + k) % SLOTS
            filled += self._filled[rows, slots]
            self._filled[rows, slots] = 0
        return filled

    def _slot(self, positions: PositionsI64) -> PositionsI64:
        return positions // SLOT_BYTES % SLOTS
