"""Drop the frames that `sipgw.rtp.excess` finds to be excess, at the head of queues, quiet ones first."""

from typing import Final, Protocol

import numpy as np
import numpy.typing as npt

from sipgw.audio import AudioFormat, PayloadU8, decode
from sipgw.rtp.excess import ExcessWatch

Rows = npt.NDArray[np.integer]

QUIET_LEVEL: Final = 330
"""Mean absolute sample of a quiet frame: -40 dBFS."""


class FrameQueue(Protocol):
    """A queue for each row, as seen at its head."""

    @property
    def excess(self) -> ExcessWatch:
        """The watch that finds excess."""
        ...

    def depth(self, rows: Rows) -> npt.NDArray[np.int64]:
        """Return how much each row has queued."""
        ...

    def peek(self, rows: Rows, length: int) -> PayloadU8:
        """Return the next `length` bytes of each row, which stay queued."""
        ...

    def skip(self, rows: Rows, length: int) -> None:
        """Drop the next `length` bytes of each row."""
        ...


def drop_excess(queue: FrameQueue, rows: Rows, audio_format: AudioFormat, now_s: float) -> None:
    """Drop at most one frame of each row that has excess and another frame."""
    length = audio_format.frame_bytes
    owing = queue.excess.debt[rows] >= length
    if not owing.any():
        return
    owing &= queue.depth(rows) > length
    if not owing.any():
        return
    rows = rows[owing]
    samples = decode(audio_format, queue.peek(rows, length))
    quiet = np.abs(samples.astype(np.int32)).mean(axis=1) < QUIET_LEVEL
    dropped = rows[queue.excess.may_drop(rows, quiet, now_s)]
    if len(dropped):
        queue.skip(dropped, length)
        queue.excess.dropped(dropped, length)
