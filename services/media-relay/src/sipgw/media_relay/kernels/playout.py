"""The queue of a bot's speech, described in `rtp.playout`."""

import numpy as np
import numpy.typing as npt

from sipgw.media_relay.kernels.quiet import LoudnessI32, is_quiet
from sipgw.rtp.kernels import excess
from sipgw.rtp.kernels.columns import CALL, CAPACITY, Calls, Record
from sipgw.rtp.kernels.declare import BYTES_2D, Array, inlined, kernel
from sipgw.rtp.kernels.memory import fill_bytes, get, put

BytesU8 = npt.NDArray[np.uint8]

LIMIT_BYTES = 65536
FULL_BYTES = 49152
"""Above this the bot may be waiting for room, so that its next audio is a burst."""
TARGET_BYTES = 160
"""One frame in hand is no backlog."""


@inlined
def depth(playout: Record) -> int:
    """Return the bytes queued."""
    return playout["end"] - playout["head"] + playout["far"]


@inlined
def drop_excess(playout: Record, ring: BytesU8, length: int, loudness: LoudnessI32, now_s: float) -> None:
    """Drop at most one frame, if the queue has excess and another frame."""
    if playout["excess"]["debt"] < length or depth(playout) <= length:
        return
    if excess.may_drop(playout["excess"], is_quiet(ring, playout["head"], length, loudness), now_s):
        playout["head"] += length
        excess.dropped(playout["excess"], length)


@inlined
def take_frame(playout: Record, ring: BytesU8, out: BytesU8, length: int, now_s: float) -> int:
    """Take the next `length` bytes into `out`, silence where there are none; return how many there were."""
    available = min(playout["end"] - playout["head"], length)
    if available < length and playout["end"] != playout["seen"]:
        available = 0  # more is coming: no hole in a word
    playout["seen"] = playout["end"]
    get(ring, playout["head"], out, 0, available)
    if available < length:
        fill_bytes(out, available, playout["silence"], length - available)
    playout["head"] += available
    if playout["is_audible"]:
        playout["played"] += available
    excess.observe(playout["excess"], depth(playout), now_s, TARGET_BYTES, FULL_BYTES)
    return available


@kernel(Array(CALL), BYTES_2D, Array(np.int64), Array(np.int64), BYTES_2D)
def play_frames(
    calls: Calls,
    rings: BytesU8,
    left: npt.NDArray[np.int64],
    rows: npt.NDArray[np.int64],
    frames: BytesU8,
) -> int:
    """Queue one frame (n, length) of each row. Return the number of frames without room, listed in `left`."""
    length = frames.shape[1]
    without_room = 0
    for i in range(len(rows)):
        row = rows[i]
        playout: Record = calls[row]["playout"]
        playout["excess"]["arrived"] += length
        if playout["far"] == 0 and playout["end"] - playout["head"] + length <= CAPACITY:
            put(rings[row], playout["end"], frames[i], 0, length)
            playout["end"] += length
        else:
            left[without_room] = i
            without_room += 1
    return without_room
