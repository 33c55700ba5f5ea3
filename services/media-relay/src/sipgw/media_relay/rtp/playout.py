"""PlayoutQueue: bots' speech that callers have not heard yet, in wire format, a queue for each call.

The near term (1.28 s) is in columns; the rest waits in a byte queue of the call, at most 64 KiB in all. Marks
sit at positions of the queue and fire when everything before them was played or dropped.
"""

from collections import deque
from typing import Protocol

import numpy as np
import numpy.typing as npt

from sipgw.audio import PayloadU8
from sipgw.media_relay.kernels.playout import LIMIT_BYTES, play_frames
from sipgw.rtp.excess import IMPATIENCE_S, PATIENCE_S, ExcessWatch
from sipgw.rtp.kernels.columns import CAPACITY, FAR, Calls
from sipgw.rtp.kernels.memory import put

Rows = npt.NDArray[np.integer]
PositionsI64 = npt.NDArray[np.int64]


class OnMark(Protocol):
    """Is called when everything queued before a mark was consumed."""

    def __call__(self, *, was_cleared: bool) -> None:
        """Note whether the audio before the mark was cleared rather than played."""


class PlayoutQueue:
    """The queues of all calls. Positions are bytes since `open`: head (consumed) <= end (near) <= written."""

    def __init__(self, calls: Calls) -> None:
        rows = len(calls)
        self.calls = calls
        self.rings = np.zeros((rows, CAPACITY), np.uint8)
        columns = calls["playout"]
        self._head: PositionsI64 = columns["head"]
        self._end: PositionsI64 = columns["end"]
        self._far: dict[int, bytearray] = {}
        self._marks: dict[int, deque[tuple[int, OnMark]]] = {}
        self.played: PositionsI64 = columns["played"]
        """Bytes that the caller heard."""
        self._excess = ExcessWatch(columns["excess"])
        self._left = np.zeros(rows, np.int64)
        self._play = play_frames.bind(calls, self.rings, self._left)
        self.refused = 0
        """Bytes beyond the limit, of all calls."""
        columns["next_mark"] = FAR

    def open(self, row: int, *, silence: int, is_live: bool, now_s: float) -> None:
        """Begin a row anew.

        A standing backlog is dropped in quiet frames, and after the row's patience in mid-word too
        (`ExcessWatch`). `is_live` has less patience.
        """
        playout = self.calls[row]["playout"]
        playout["silence"] = silence
        playout["is_audible"] = True
        for field in ("head", "end", "far", "seen", "played", "reported"):
            self.calls["playout"][field][row] = 0
        playout["next_mark"] = FAR
        self._far.pop(row, None)
        self._marks.pop(row, None)
        self._excess.reset(row, now_s, patience_s=IMPATIENCE_S if is_live else PATIENCE_S)

    def recode(self, row: int, table: PayloadU8) -> None:
        """Go on in another codec: `table` (256,) translates the queued audio."""
        playout = self.calls[row]["playout"]
        playout["silence"] = table[playout["silence"]]
        self.rings[row] = table[self.rings[row]]
        far = self._far.get(row)
        if far is not None:
            far[:] = far.translate(table.tobytes())

    def set_audible(self, row: int, *, audible: bool) -> None:
        """Set whether the caller hears the row. On hold, frames taken count as dropped, not as played."""
        self.calls["playout"]["is_audible"][row] = audible

    def consumed(self, rows: Rows) -> PositionsI64:
        """Return the bytes played or dropped since `open`."""
        return self._head[rows]

    def depth(self, rows: Rows) -> PositionsI64:
        """Return the queued bytes of each row."""
        return self._end[rows] - self._head[rows] + self.calls["playout"]["far"][rows]

    def play_frames(self, rows: Rows, frames: PayloadU8) -> None:
        """Queue one frame for each row; see pipeline.stage.Playout."""
        left = self._play(np.ascontiguousarray(rows, np.int64), np.ascontiguousarray(frames))
        for i in self._left[:left].tolist():
            self._queue(int(rows[i]), frames[i].tobytes())

    def play_bytes(self, row: int, audio: bytes | memoryview) -> None:
        """Queue audio of any length; see pipeline.stage.Playout."""
        self.calls[row]["playout"]["excess"]["arrived"] += len(audio)
        self._queue(row, audio)

    def mark(self, row: int, on_mark: OnMark) -> None:
        """Call `on_mark` when the audio queued now was consumed; at the next tick if nothing is queued."""
        position = int(self._end[row]) + len(self._far.get(row, b""))
        self._marks.setdefault(row, deque()).append((position, on_mark))
        self.calls["playout"]["next_mark"][row] = self._marks[row][0][0]

    def clear(self, row: int) -> int:
        """Drop the queued audio; return its number of bytes. Marks in it fire as cleared."""
        dropped = int(self._end[row] - self._head[row]) + len(self._far.pop(row, b""))
        playout = self.calls[row]["playout"]
        playout["far"] = 0
        playout["head"] += dropped
        playout["end"] = playout["head"]
        self._excess.forgive(row)
        self.fire_marks(row, was_cleared=dropped > 0)
        return dropped

    def close(self, row: int) -> None:
        """Forget the row's queued audio."""
        self._far.pop(row, None)
        self._marks.pop(row, None)
        playout = self.calls[row]["playout"]
        playout["far"] = 0
        playout["end"] = playout["head"]
        playout["next_mark"] = FAR

    def _queue(self, row: int, audio: bytes | memoryview) -> None:
        """Append to a row's far queue as much as the limit allows, and refill the near term."""
        far = self._far.get(row)
        if far is None:
            far = self._far[row] = bytearray()
        room = LIMIT_BYTES - len(far) - int(self._end[row] - self._head[row])
        if len(audio) > room:
            self.refused += len(audio) - room
            audio = audio[: max(room, 0)]
        far += audio
        self.advance(row)

    def advance(self, row: int) -> None:
        """Move bytes that wait for room into the row's ring."""
        far = self._far.get(row)
        if far is None:
            return
        playout = self.calls[row]["playout"]
        room = CAPACITY - int(playout["end"] - playout["head"])
        chunk = np.frombuffer(bytes(far[:room]), np.uint8)
        del far[:room]
        put(self.rings[row], int(playout["end"]), chunk, 0, len(chunk))
        playout["end"] += len(chunk)
        playout["far"] = len(far)
        if not far:
            del self._far[row]

    def fire_marks(self, row: int, *, was_cleared: bool = False) -> None:
        """Fire the marks whose audio has now been consumed."""
        marks, playout = self._marks.get(row), self.calls[row]["playout"]
        while marks and marks[0][0] <= playout["head"]:
            marks.popleft()[1](was_cleared=was_cleared)
        if marks:
            playout["next_mark"] = marks[0][0]
        else:
            playout["next_mark"] = FAR
            self._marks.pop(row, None)
