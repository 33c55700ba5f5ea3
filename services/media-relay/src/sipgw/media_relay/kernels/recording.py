"""Gather copies of both sides' frames until a piece is whole, and turn it into samples.

Python hands pieces to the writer's thread.
"""

import numpy as np
import numpy.typing as npt

from sipgw.rtp.kernels.columns import CALL, SLOT_BYTES, Calls, Record
from sipgw.rtp.kernels.declare import BYTES_2D, INT, Array, inlined, kernel
from sipgw.rtp.kernels.memory import fill, get, put
from sipgw.rtp.kernels.wrap import wide

BytesU8 = npt.NDArray[np.uint8]
RowsI64 = npt.NDArray[np.int64]
SamplesI16 = npt.NDArray[np.int16]

WHOLE, CROWDED = 0, 1
_BYTES_A_TICK = 40


@inlined
def set_base(recording: Record, track: Record, offset: int, tick: int) -> None:
    """Set where a side's frames begin: both sides begin when the first frame of either comes."""
    if recording["origin"] < 0:
        recording["origin"] = tick
    begin = (tick - recording["origin"]) * _BYTES_A_TICK // SLOT_BYTES * SLOT_BYTES
    track["base"] = max(begin, recording["flushed"]) - offset
    track["has_base"] = True


@kernel(
    Array(CALL),
    BYTES_2D,
    Array(np.int64),
    Array(np.int64),
    Array(np.int64),
    Array(np.uint32),
    Array(np.uint64),
    BYTES_2D,
    INT,
    INT,
)
def keep_frames(
    calls: Calls,
    rings: BytesU8,
    whole: RowsI64,
    crowded: RowsI64,
    counts: npt.NDArray[np.int64],
    rows: npt.NDArray[np.uint32],
    seq: npt.NDArray[np.uint64],
    payload: BytesU8,
    channel: int,
    tick: int,
) -> int:
    """Keep one frame (n, length) of each row that is recorded, on channel 0 (left) or 1.

    `whole` gets the rows whose piece is whole, `crowded` the frames without room, `counts` (2,) the length of
    both. Frames without room are passed again after Python has made room.
    """
    length = payload.shape[1]
    capacity = rings.shape[1]
    counts[WHOLE] = 0
    counts[CROWDED] = 0
    for i in range(len(rows)):
        row = rows[i]
        recording: Record = calls[row]["recording"]
        if not recording["is_on"]:
            continue
        track: Record = recording["left"] if channel == 0 else recording["right"]
        offset = wide(seq[i]) * length
        if not track["has_base"]:
            set_base(recording, track, offset, tick)
        position = track["base"] + offset
        ahead = position + length - recording["flushed"]
        if ahead > capacity:
            crowded[counts[CROWDED]] = i
            counts[CROWDED] += 1
        elif ahead > 0:
            put(rings[2 * row + channel], position, payload[i], 0, length)
            track["reached"] = position + length
            if min(recording["left"]["reached"], recording["right"]["reached"]) >= recording["due"]:
                whole[counts[WHOLE]] = row
                counts[WHOLE] += 1
    return 0


@kernel(BYTES_2D, INT, INT, INT, BYTES_2D)
def take_piece(rings: BytesU8, row: int, position: int, silence: int, out: BytesU8) -> int:
    """Move the bytes of both channels at a position into `out` (2, n), and leave silence in their place."""
    length = out.shape[1]
    for channel in range(2):
        get(rings[2 * row + channel], position, out[channel], 0, length)
        fill(rings[2 * row + channel], position, silence, length)
    return 0


@kernel(BYTES_2D, Array(np.int16), Array(np.int16, 2))
def interleave(channels: BytesU8, table: SamplesI16, out: SamplesI16) -> int:
    """Decode both channels (2, n) into samples (n, 2), as a WAV file has them, by a codec's table (256,)."""
    for i in range(channels.shape[1]):
        out[i, 0] = table[channels[0, i]]
        out[i, 1] = table[channels[1, i]]
    return 0
