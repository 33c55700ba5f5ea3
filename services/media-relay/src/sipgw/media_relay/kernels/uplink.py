"""Take callers' frames by each call's own clock, by the rules in `rtp.uplink`."""

import numpy as np
import numpy.typing as npt

from sipgw.media_relay.kernels.events import TOTALS, Totals
from sipgw.media_relay.kernels.quiet import QUIET_LEVEL, LoudnessI32
from sipgw.rtp.kernels import jitter as jitters
from sipgw.rtp.kernels.columns import CALL, CAPACITY, SLOT_BYTES, SLOTS, Calls, Record
from sipgw.rtp.kernels.declare import BYTES_2D, INT, Array, inlined, kernel
from sipgw.rtp.kernels.jitter import TICK_BYTES, FilledI16, RingU8
from sipgw.rtp.kernels.reading_point import leap, skip
from sipgw.rtp.kernels.transit import PATIENCE
from sipgw.rtp.kernels.wrap import wide

BytesU8 = npt.NDArray[np.uint8]

PATIENCE_TICKS = PATIENCE // TICK_BYTES
CATCH_UP_TICKS = 40
"""200 ms."""


@inlined
def leave_out(call: Record, filled: FilledI16, length: int, tick: int) -> int:
    """Skip the frames that a stall has made too old; return how many."""
    uplink = call["uplink"]
    lost = (tick - uplink["next"]) // uplink["period"] - CATCH_UP_TICKS // uplink["period"]
    if lost <= 0:
        return 0
    uplink["seq"] += lost
    uplink["next"] += lost * uplink["period"]
    leap(call["jitter"], filled, lost * length)
    return lost


@inlined
def waits(call: Record, filled: FilledI16, length: int) -> bool:
    """Delay a frame by a tick if it is missing and may still arrive; return whether it was delayed."""
    uplink = call["uplink"]
    is_patient = uplink["flowing"] and uplink["waited"] < PATIENCE_TICKS
    if not is_patient or jitters.has_frame(call["jitter"], filled, length):
        return False
    uplink["next"] += 1
    uplink["waited"] += 1
    call["jitter"]["due"] += TICK_BYTES
    call["jitter"]["waited"] += TICK_BYTES
    return True


@inlined
def is_quiet(jitter: Record, ring: RingU8, filled: FilledI16, length: int, loudness: LoudnessI32) -> bool:
    """Return whether the audio that packets brought for the next frame is quiet."""
    total = 0
    for position in range(jitter["head"], jitter["head"] + length):
        if filled[position // SLOT_BYTES % SLOTS] > 0:
            total += wide(loudness[ring[position % CAPACITY]])
    return total < QUIET_LEVEL * length


@inlined
def leaves_out(
    call: Record, ring: RingU8, filled: FilledI16, length: int, loudness: LoudnessI32, tick: int
) -> bool:
    """Leave out the next frame if frames are ahead of time; return whether that was done."""
    jitter, uplink, now = call["jitter"], call["uplink"], tick * TICK_BYTES
    if jitter["ahead"] < length:
        return False
    quiet = is_quiet(jitter, ring, filled, length, loudness)
    if not jitters.may_leave_out(jitter, filled, quiet, length, now):
        return False
    skip(jitter, ring, filled, length)
    jitters.note_left_out(jitter, quiet, length, now)
    jitter["due"] += length
    uplink["next"] += uplink["period"]
    uplink["waited"] = 0
    return True


@inlined
def set_clock(call: Record, is_concealed: bool, length: int, tick: int) -> None:  # noqa: FBT001
    """Set when the next frame is due. Waiting in vain moves no clock.

    A buffer that is deeper than need be is read earlier from now on: by a tick, or by half a period if it is
    deeper by a frame.
    """
    uplink = call["uplink"]
    uplink["next"] += uplink["period"]
    if is_concealed:
        uplink["next"] -= uplink["waited"]
        call["jitter"]["waited"] -= uplink["waited"] * TICK_BYTES
    uplink["waited"] = 0
    uplink["flowing"] = not is_concealed
    debt = call["jitter"]["debt"]
    if debt >= TICK_BYTES and not is_concealed:
        ticks = max(uplink["period"] // 2, 1) if debt >= length else 1
        uplink["next"] -= ticks
        jitters.make_up(call["jitter"], ticks * TICK_BYTES, tick * TICK_BYTES)
    call["jitter"]["due"] = uplink["next"] * TICK_BYTES


@kernel(
    Array(CALL),
    BYTES_2D,
    Array(np.int16, 2),
    Array(TOTALS),
    Array(np.uint32),
    Array(np.uint64),
    Array(np.uint8),
    BYTES_2D,
    Array(np.int32),
    INT,
    INT,
    INT,
    INT,
)
def take_uplink(
    calls: Calls,
    rings: BytesU8,
    filled: npt.NDArray[np.int16],
    totals: Totals,
    out_rows: npt.NDArray[np.uint32],
    out_seq: npt.NDArray[np.uint64],
    out_flags: BytesU8,
    out_payload: BytesU8,
    loudness: LoudnessI32,
    audio_format: int,
    used: int,
    concealed_flag: int,
    tick: int,
) -> int:
    """Take a frame of each row of a format that is due; return how many. Only `used` rows run."""
    length = out_payload.shape[1]
    total = totals[0]
    count = 0
    for row in range(used):
        call = calls[row]
        uplink = call["uplink"]
        if uplink["next"] > tick or uplink["format"] != audio_format:
            continue
        ring, brought = rings[row], filled[row]
        total["left_out"] += leave_out(call, brought, length, tick)
        if waits(call, brought, length):
            continue
        if leaves_out(call, ring, brought, length, loudness, tick):
            continue
        is_concealed = jitters.take_frame(
            call["jitter"], ring, brought, out_payload[count], length, tick * TICK_BYTES
        )
        set_clock(call, is_concealed, length, tick)
        jitters.settle(call["jitter"], tick * TICK_BYTES)
        out_rows[count] = row
        out_seq[count] = uplink["seq"]
        out_flags[count] = concealed_flag if is_concealed else 0
        uplink["seq"] += 1
        if is_concealed:
            total["concealed"] += 1
        count += 1
    return count
