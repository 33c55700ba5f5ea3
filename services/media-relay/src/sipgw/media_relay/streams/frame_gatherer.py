"""FrameGatherer: callers' frames on their way to a trunk, gathered over some ticks. Pure.

A message costs as much as a hundred frames in it, so frames wait for others: until two ticks after the last
message, or four if they are few. With one call, or with all calls in one tick, none waits at all.
"""

from dataclasses import dataclass, field
from typing import Final

import numpy as np
import numpy.typing as npt

from sipgw.api import voicebot_pb2 as pb
from sipgw.audio import PayloadU8
from sipgw.media_relay.load.tick import TICK_S
from sipgw.media_relay.streams.columns import listed

MANY_FRAMES: Final = 64
"""So many are worth a message of their own."""
SHORT_S: Final = 2 * TICK_S
LONG_S: Final = 4 * TICK_S
EARLY_S: Final = TICK_S / 2
"""By how much less than whole ticks may have passed between two of them."""
BYTES_BESIDE_FRAME: Final = 16
"""Of a handle, a seq and a flag."""


@dataclass(slots=True)
class _Gathered:
    """Frames of one format."""

    format_id: int
    frame_bytes: int
    handles: list[int] = field(default_factory=list)
    seq: list[int] = field(default_factory=list)
    flags: list[int] = field(default_factory=list)
    audio: list[bytes] = field(default_factory=list)


class FrameGatherer:
    """`add` the frames of each tick; `take` them as batches once they are due.

    A batch has one frame of a call, unless the frames that were added together have more.
    """

    def __init__(self, most_bytes: int) -> None:
        self._most_bytes = most_bytes
        self._gathered: list[_Gathered] = []
        self._count = 0
        self._taken_at = 0.0

    def add(
        self,
        format_id: int,
        handles: npt.NDArray[np.uint32],
        seq: npt.NDArray[np.uint64],
        flags: npt.NDArray[np.uint8],
        payload: PayloadU8,
    ) -> None:
        """Keep a copy of one frame for each handle."""
        step = max(1, self._most_bytes // (payload.shape[1] + BYTES_BESIDE_FRAME))
        for start in range(0, len(handles), step):
            part = slice(start, start + step)
            frames = self._room_for(format_id, listed(handles[part]), payload.shape[1], step)
            frames.seq += listed(seq[part])
            frames.flags += listed(flags[part])
            frames.audio.append(payload[part].tobytes())
        self._count += len(handles)

    def due_at(self) -> float | None:
        """Return when what is here is to be written; None when nothing is."""
        if not self._count:
            return None
        return self._taken_at + (SHORT_S if self._count >= MANY_FRAMES else LONG_S)

    def is_due(self, now: float) -> bool:
        """Return whether a tick at this time is the one in which the frames are to be written."""
        due = self.due_at()
        return due is not None and now >= due - EARLY_S

    def take(self, now: float) -> list[pb.AudioBatch]:
        """Return all frames in their order, and count the ticks from now on."""
        gathered, self._gathered = self._gathered, []
        self._count = 0
        self._taken_at = now
        return [_batch(each) for each in gathered]

    def _room_for(self, format_id: int, handles: list[int], frame_bytes: int, most: int) -> _Gathered:
        """Return the batch that the frames of these handles go into, with the handles added."""
        if self._gathered:
            last = self._gathered[-1]
            is_same = last.format_id == format_id and last.frame_bytes == frame_bytes
            if is_same and len(last.handles) + len(handles) <= most and set(last.handles).isdisjoint(handles):
                last.handles += handles
                return last
        self._gathered.append(_Gathered(format_id, frame_bytes, handles))
        return self._gathered[-1]


def _batch(frames: _Gathered) -> pb.AudioBatch:
    return pb.AudioBatch(
        format_id=frames.format_id,
        frame_bytes=frames.frame_bytes,
        handles=frames.handles,
        seq=frames.seq,
        flags=frames.flags if any(frames.flags) else (),
        audio=b"".join(frames.audio),
    )
