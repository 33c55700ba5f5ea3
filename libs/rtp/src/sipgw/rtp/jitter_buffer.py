"""JitterBuffer: a ring addressed by timestamp for each caller, target depth 0, for many callers at once.

A packet's timestamp says where its bytes belong, so order, packet time and duplicates do not matter. Frames
are taken by the relay's clock. A packet that is too late for its frame moves the reading point back to itself
when nothing newer was played since. So a late burst is heard whole, and the excess rule removes the delay
that it leaves. G.711 only: one byte is one sample, 8000 a second.
"""

import numpy as np
import numpy.typing as npt

from sipgw.rtp.excess import ExcessWatch
from sipgw.rtp.kernels import jitter as jitters
from sipgw.rtp.kernels.columns import CAPACITY, SLOTS, Calls

Rows = npt.NDArray[np.integer]
TimestampsU32 = npt.NDArray[np.uint32]
BytesU8 = npt.NDArray[np.uint8]
Mask = npt.NDArray[np.bool_]
PositionsI64 = npt.NDArray[np.int64]


class JitterBuffer:
    """The buffers of all calls. All rows in one call of a method are different."""

    def __init__(self, calls: Calls) -> None:
        rows = len(calls)
        self.calls = calls
        self.rings = np.zeros((rows, CAPACITY), np.uint8)
        self.filled = np.zeros((rows, SLOTS), np.int16)
        """Bytes that packets brought, per slot."""
        columns = calls["jitter"]
        self._silence: BytesU8 = columns["silence"]
        self._mapped: Mask = columns["mapped"]
        self.late: PositionsI64 = columns["late"]
        """Packets that came too late, per row."""
        self._excess = ExcessWatch(columns["excess"])

    def open(self, row: int, *, silence: int, now_s: float) -> None:
        """Begin a row anew; `silence` is the codec's byte for it."""
        self._silence[row] = silence
        self.rings[row] = silence
        self.filled[row] = 0
        self._mapped[row] = False
        for field in ("head", "end", "heard", "late_run", "late"):
            self.calls["jitter"][field][row] = 0
        self._excess.reset(row, now_s)

    def recode(self, row: int, table: BytesU8) -> None:
        """Go on in another codec; `table` (256,) converts the bytes that wait."""
        self._silence[row] = table[self._silence[row]]
        self.rings[row] = table[self.rings[row]]

    def write(self, rows: Rows, timestamps: TimestampsU32, payload: BytesU8) -> None:
        """Put one packet's payload for each row in its place; all are (n, length) with one length > 0."""
        jitters.put_packets(
            self.calls,
            self.rings,
            self.filled,
            np.ascontiguousarray(rows, np.int64),
            timestamps,
            np.ascontiguousarray(payload),
        )

    def take(self, rows: Rows, length: int, now_s: float) -> tuple[BytesU8, Mask]:
        """Return the next `length` bytes of each row, and which rows are concealed since no packet came."""
        payload = np.empty((len(rows), length), np.uint8)
        concealed = np.empty(len(rows), np.bool_)
        jitters.take_frames(
            self.calls,
            self.rings,
            self.filled,
            np.ascontiguousarray(rows, np.int64),
            payload,
            concealed,
            now_s,
        )
        return payload, concealed
