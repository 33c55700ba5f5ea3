"""JitterBuffer: each caller's audio on one timeline, for many callers at once.

A packet's timestamp says where its audio belongs, so order, packet time and duplicates do not matter. The
sequence number says whether the timestamp can be trusted: without a gap in it, audio is due when it arrives.
So a timestamp that leaps, stands still or goes back is mapped anew at once, and a talk-spurt begins when it
arrives.

Frames are taken by the relay's clock. On a network that delays all packets alike, the buffer is empty after
each frame. A late packet moves the reading point back to itself if nothing newer was played since, so a late
burst is heard whole; a packet overtaken by audio already played is lost, and makes the buffer read
later from then on, so that the next late packet is heard (`sipgw.rtp.kernels.transit`). Lost audio is
concealed (`sipgw.rtp.kernels.concealment`).

Depth beyond the need (`debt`) is made up for by taking frames earlier, at the loss of none. Frames that were
made up for packets which arrived after all then put the frames ahead of time (`ahead`): for each of them a
quiet frame is left out, or after 10 s a loud one now and then.

G.711 only: one byte is one sample, 8000 a second.
"""

from typing import Final

import numpy as np
import numpy.typing as npt

from sipgw.rtp.kernels import jitter as jitters
from sipgw.rtp.kernels.columns import CAPACITY, SLOT_BYTES, SLOTS, Calls

Rows = npt.NDArray[np.integer]
HeadersI64 = npt.NDArray[np.int64]
"""Sequence number, timestamp and marker of packets, shape (n, 3)."""
BytesU8 = npt.NDArray[np.uint8]
Mask = npt.NDArray[np.bool_]
PositionsI64 = npt.NDArray[np.int64]
_CLOCK_HZ: Final = 8000


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
        self.late: PositionsI64 = columns["late"]
        """Packets that came too late, per row."""

    def open(self, row: int, *, silence: int, now_s: float) -> None:
        """Begin a row anew; `silence` is the codec's byte for it."""
        self._silence[row] = silence
        self.rings[row] = silence
        self.filled[row] = 0
        jitters.reset(self.calls[row]["jitter"], _clock(now_s))

    def recode(self, row: int, table: BytesU8) -> None:
        """Go on in another codec; `table` (256,) converts the bytes that wait."""
        self._silence[row] = table[self._silence[row]]
        self.rings[row] = table[self.rings[row]]

    def write(self, rows: Rows, headers: HeadersI64, payload: BytesU8, now_s: float) -> None:
        """Put one packet's payload for each row in its place; all are (n, length) with one length > 0."""
        jitters.put_packets(
            self.calls,
            self.rings,
            self.filled,
            np.ascontiguousarray(rows, np.int64),
            headers,
            np.ascontiguousarray(payload),
            _clock(now_s),
        )

    def take(self, rows: Rows, length: int, now_s: float) -> tuple[BytesU8, Mask]:
        """Return the next `length` bytes (whole slots) of each row, and which rows are concealed.

        A row is concealed if no packet brought its audio and the caller has not announced silence.
        """
        if length % SLOT_BYTES:
            raise ValueError(f"a frame of {length} bytes is not of whole slots of {SLOT_BYTES}")
        payload = np.empty((len(rows), length), np.uint8)
        concealed = np.empty(len(rows), np.bool_)
        jitters.take_frames(
            self.calls,
            self.rings,
            self.filled,
            np.ascontiguousarray(rows, np.int64),
            payload,
            concealed,
            _clock(now_s),
        )
        return payload, concealed


def _clock(now_s: float) -> int:
    return round(now_s * _CLOCK_HZ)
