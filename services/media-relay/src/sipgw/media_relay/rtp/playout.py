"""PlayoutQueue: bots' speech that callers have not heard yet, in wire format, a queue for each call.

The near term (1.28 s) is in columns; the rest waits in a byte queue of the call, at most 64 KiB in all. Marks
sit at positions of the queue and fire when everything before them was played or dropped.
"""

from collections import deque
from typing import Final, Protocol

import numpy as np
import numpy.typing as npt

from sipgw.audio import PayloadU8
from sipgw.rtp.excess import IMPATIENCE_S, PATIENCE_S, ExcessWatch
from sipgw.rtp.kernels.columns import EXCESS
from sipgw.rtp.slot_ring import SlotRing

Rows = npt.NDArray[np.integer]
Mask = npt.NDArray[np.bool_]
PositionsI64 = npt.NDArray[np.int64]

LIMIT_BYTES: Final = 65536
FULL_BYTES: Final = LIMIT_BYTES * 3 // 4
"""Above this the bot may be waiting for room, so that what comes next is a burst."""
NEAR_SLOTS: Final = 128
TARGET_BYTES: Final = 160
"""One frame in hand is no backlog."""
_NO_MARK: Final = 1 << 62


class OnMark(Protocol):
    """Is called when everything queued before a mark was consumed."""

    def __call__(self, *, was_cleared: bool) -> None:
        """Note whether the audio before the mark was cleared rather than played."""


class PlayoutQueue:
    """Columns of `rows` calls. Positions are bytes since `open`: head (consumed) <= end (near) <= written."""

    def __init__(self, rows: int) -> None:
        self.rows = rows
        self._near = SlotRing(rows, NEAR_SLOTS)
        self._head = np.zeros(rows, np.int64)
        self._end = np.zeros(rows, np.int64)
        self._seen = np.zeros(rows, np.int64)
        """The end at the time when audio was last taken."""
        self._far: dict[int, bytearray] = {}
        self._has_far = np.zeros(rows, np.bool_)
        self._silence = np.zeros(rows, np.uint8)
        self._is_audible = np.zeros(rows, np.bool_)
        self._next_mark = np.full(rows, _NO_MARK, np.int64)
        self._marks: dict[int, deque[tuple[int, OnMark]]] = {}
        self.played = np.zeros(rows, np.int64)
        """Bytes that the caller heard."""
        self.excess = ExcessWatch(np.zeros(rows, EXCESS), target_bytes=TARGET_BYTES, full_bytes=FULL_BYTES)
        self.refused = 0
        """Bytes beyond the limit, of all calls."""

    def open(self, row: int, *, silence: int, is_live: bool, now_s: float) -> None:
        """Begin a row anew.

        A standing backlog is dropped in quiet frames, and after the row's patience in mid-word too
        (`ExcessWatch`). `is_live` has less patience.
        """
        self._silence[row] = silence
        self._is_audible[row] = True
        self._head[row] = self._end[row] = self._seen[row] = self.played[row] = 0
        self._far.pop(row, None)
        self._has_far[row] = False
        self._marks.pop(row, None)
        self._next_mark[row] = _NO_MARK
        self.excess.reset(row, now_s, patience_s=IMPATIENCE_S if is_live else PATIENCE_S)

    def recode(self, row: int, table: PayloadU8) -> None:
        """Go on in another codec: `table` (256,) translates what is queued."""
        self._silence[row] = table[self._silence[row]]
        self._near.recode_row(row, table)
        far = self._far.get(row)
        if far is not None:
            far[:] = far.translate(table.tobytes())

    def set_audible(self, row: int, *, audible: bool) -> None:
        """Set whether the caller hears the row. On hold, what is taken counts as dropped, not as played."""
        self._is_audible[row] = audible

    def consumed(self, rows: Rows) -> PositionsI64:
        """Return the bytes played or dropped since `open`."""
        return self._head[rows]

    def depth(self, rows: Rows) -> PositionsI64:
        """Return the queued bytes of each row."""
        depth = self._end[rows] - self._head[rows]
        far = self._has_far[rows]
        if far.any():
            for i in np.flatnonzero(far).tolist():
                depth[i] += len(self._far[int(rows[i])])
        return depth

    def play_frames(self, rows: Rows, frames: PayloadU8) -> None:
        """Queue one frame for each row; see pipeline.stage.Playout."""
        length = frames.shape[1]
        self.excess.arrived(rows, length)
        room = self._end[rows] - self._head[rows] + length <= self._near.capacity
        near = room & ~self._has_far[rows]
        if near.all():
            self._near.write(rows, self._end[rows], frames)
            self._end[rows] += length
            return
        for i in np.flatnonzero(~near).tolist():
            self._queue(int(rows[i]), frames[i].tobytes())
        if near.any():
            some = rows[near]
            self._near.write(some, self._end[some], frames[near])
            self._end[some] += length

    def play_bytes(self, row: int, audio: bytes | memoryview) -> None:
        """Queue audio of any length; see pipeline.stage.Playout."""
        self.excess.arrived(np.array([row]), len(audio))
        self._queue(row, audio)

    def peek(self, rows: Rows, length: int) -> PayloadU8:
        """Return the next `length` bytes of each row, which stay queued."""
        return self._near.read(rows, self._head[rows], length)

    def skip(self, rows: Rows, length: int) -> None:
        """Drop the next `length` bytes of rows that have them in the near term."""
        self._head[rows] += length
        self._refill(rows)

    def take(self, rows: Rows, length: int, now_s: float) -> tuple[PayloadU8, Mask]:
        """Take the next `length` bytes of each row.

        Return them, and which rows have none (those are silence).
        """
        heads, ends = self._head[rows], self._end[rows]
        available = np.minimum(ends - heads, length)
        available[(available < length) & (ends != self._seen[rows])] = 0  # more is coming: no hole in a word
        self._seen[rows] = ends
        payload = self._near.read(rows, heads, length)
        short = np.flatnonzero(available < length)
        if len(short):
            beyond = np.arange(length) >= available[short][:, None]
            payload[short] = np.where(beyond, self._silence[rows[short]][:, None], payload[short])
        self._head[rows] = heads + available
        self.played[rows] += np.where(self._is_audible[rows], available, 0)
        self._refill(rows)
        self.excess.observe(rows, self.depth(rows), now_s)
        return payload, available == 0

    def fire_marks(self, rows: Rows) -> None:
        """Fire the marks whose audio has now been consumed."""
        reached = self._next_mark[rows] <= self._head[rows]
        if reached.any():
            for row in rows[reached].tolist():
                self._fire(row, was_cleared=False)

    def mark(self, row: int, on_mark: OnMark) -> None:
        """Call `on_mark` when what is queued now was consumed; at the next tick if nothing is queued."""
        position = int(self._end[row]) + len(self._far.get(row, b""))
        self._marks.setdefault(row, deque()).append((position, on_mark))
        self._next_mark[row] = self._marks[row][0][0]

    def clear(self, row: int) -> int:
        """Drop what is queued; return its number of bytes. Marks in it fire as cleared."""
        dropped = int(self._end[row] - self._head[row]) + len(self._far.pop(row, b""))
        self._has_far[row] = False
        self._head[row] += dropped
        self._end[row] = self._head[row]
        self.excess.forgive(row)
        self._fire(row, was_cleared=dropped > 0)
        return dropped

    def close(self, row: int) -> None:
        """Forget what the row has queued."""
        self._far.pop(row, None)
        self._has_far[row] = False
        self._end[row] = self._head[row]
        self._marks.pop(row, None)
        self._next_mark[row] = _NO_MARK

    def _queue(self, row: int, audio: bytes | memoryview) -> None:
        """Append to a row's far queue as much as the limit allows, and refill the near term."""
        far = self._far.get(row)
        if far is None:
            far = self._far[row] = bytearray()
            self._has_far[row] = True
        room = LIMIT_BYTES - len(far) - int(self._end[row] - self._head[row])
        if len(audio) > room:
            self.refused += len(audio) - room
            audio = audio[: max(room, 0)]
        far += audio
        self._advance(row)

    def _refill(self, rows: Rows) -> None:
        far = self._has_far[rows]
        if far.any():
            for row in rows[far].tolist():
                if self._end[row] - self._head[row] <= self._near.capacity // 2:
                    self._advance(row)

    def _advance(self, row: int) -> None:
        """Move bytes from a row's far queue into its near term."""
        far = self._far[row]
        room = self._near.capacity - int(self._end[row] - self._head[row])
        chunk = np.frombuffer(bytes(far[:room]), np.uint8)
        del far[:room]
        self._near.write_row(row, int(self._end[row]), chunk)
        self._end[row] += len(chunk)
        if not far:
            del self._far[row]
            self._has_far[row] = False

    def _fire(self, row: int, *, was_cleared: bool) -> None:
        marks = self._marks.get(row)
        while marks and marks[0][0] <= self._head[row]:
            marks.popleft()[1](was_cleared=was_cleared)
        if marks:
            self._next_mark[row] = marks[0][0]
        else:
            self._next_mark[row] = _NO_MARK
            self._marks.pop(row, None)
