"""Note when the caller and the bot speak, by one byte in sixteen of each frame, undecoded."""

import numpy as np
import numpy.typing as npt

from sipgw.rtp.kernels.columns import CALL, Calls, Record
from sipgw.rtp.kernels.declare import BYTES, BYTES_2D, INT, Array, inlined, kernel

BytesU8 = npt.NDArray[np.uint8]
RowsU32 = npt.NDArray[np.uint32]

STRIDE = 16


@inlined
def is_loud(frame: BytesU8, loud: BytesU8) -> bool:
    """Return whether a byte looked at is one of the loud codes: `loud` (256,)."""
    for at in range(0, len(frame), STRIDE):  # noqa: SIM110 - compiled: no generators
        if loud[frame[at]]:
            return True
    return False


@kernel(Array(CALL), BYTES, Array(np.uint32), BYTES_2D, BYTES, INT, INT)
def hear_callers(
    calls: Calls, loud: BytesU8, rows: RowsU32, payload: BytesU8, flags: BytesU8, silent_flag: int, tick: int
) -> int:
    """Note which callers speak. Frames with `silent_flag` are silence."""
    for i in range(len(rows)):
        if not flags[i] & silent_flag and is_loud(payload[i], loud):
            turn: Record = calls[rows[i]]["turn"]
            turn["last_caller"] = tick
            turn["has_asked"] = True
    return 0


@kernel(
    Array(CALL),
    Array(np.int64),
    BYTES,
    Array(np.uint32),
    BYTES_2D,
    BYTES,
    INT,
    INT,
    INT,
    INT,
)
def hear_bots(
    calls: Calls,
    answered: npt.NDArray[np.int64],
    loud: BytesU8,
    rows: RowsU32,
    payload: BytesU8,
    flags: BytesU8,
    silent_flag: int,
    tick: int,
    bot_pause: int,
    caller_pause: int,
) -> int:
    """Note which bots speak; return how many have answered. `answered` says which rows."""
    answers = 0
    for i in range(len(rows)):
        if flags[i] & silent_flag or not is_loud(payload[i], loud):
            continue
        turn: Record = calls[rows[i]]["turn"]
        begins = tick - turn["last_bot"] >= bot_pause
        turn["last_bot"] = tick
        if begins and turn["has_asked"] and tick - turn["last_caller"] >= caller_pause:
            turn["has_asked"] = False
            answered[answers] = rows[i]
            answers += 1
    return answers
