"""Move the reading point of one call's jitter buffer. Audio before it stays, for concealment."""

import numpy as np
import numpy.typing as npt

from sipgw.rtp.kernels.columns import CAPACITY, SLOT_BYTES, SLOTS, Record
from sipgw.rtp.kernels.concealment import HISTORY, SILENT_AFTER, find_pitch
from sipgw.rtp.kernels.declare import inlined
from sipgw.rtp.kernels.memory import put
from sipgw.rtp.kernels.wrap import wide

RingU8 = npt.NDArray[np.uint8]
FilledI16 = npt.NDArray[np.int16]


@inlined
def move_back(jitter: Record, ring: RingU8, distance: int) -> None:
    """Move the reading point back by whole slots. The audio heard last stays before it."""
    head = jitter["head"]
    jitter["inserted"] += distance
    copy_history(ring, head, head - distance)
    jitter["head"] = head - distance
    jitter["lost_at"] -= distance


@inlined
def skip(jitter: Record, ring: RingU8, filled: FilledI16, length: int) -> None:
    """Drop the next `length` bytes, whole slots. The audio after them is faded in over that before."""
    clear_counts(jitter, filled, min(length, CAPACITY))
    head = jitter["head"] + length
    copy_history(ring, jitter["head"], head)
    jitter["head"] = head
    jitter["heard"] = max(head, jitter["heard"])
    if jitter["missing"] == 0:
        jitter["lost_at"] = head
        jitter["pitch"] = find_pitch(ring, head, wide(jitter["silence"]))
        jitter["missing"] = 1
    else:
        jitter["lost_at"] += length


@inlined
def leap(jitter: Record, filled: FilledI16, distance: int) -> None:
    """Drop `distance` bytes, in whole slots, for time that was lost."""
    whole = distance // SLOT_BYTES * SLOT_BYTES
    clear_counts(jitter, filled, min(whole, CAPACITY))
    jitter["head"] += whole
    jitter["due"] += whole
    jitter["heard"] = max(jitter["head"], jitter["heard"])
    jitter["missing"] = SILENT_AFTER


@inlined
def copy_history(ring: RingU8, source: int, target: int) -> None:
    """Copy the audio heard before one position to before another; both are borders of slots."""
    if target < source:
        for offset in range(-HISTORY, 0, SLOT_BYTES):
            copy_slot(ring, source + offset, target + offset)
    else:
        for offset in range(-SLOT_BYTES, -HISTORY - 1, -SLOT_BYTES):
            copy_slot(ring, source + offset, target + offset)


@inlined
def copy_slot(ring: RingU8, source: int, target: int) -> None:
    """Copy one slot."""
    begin = source % CAPACITY
    put(ring, target, ring, begin, SLOT_BYTES)


@inlined
def clear_counts(jitter: Record, filled: FilledI16, length: int) -> None:
    """Clear the counts of the slots of the next `length` bytes."""
    slot = jitter["head"] // SLOT_BYTES % SLOTS
    for _ in range(0, length, SLOT_BYTES):
        filled[slot] = 0
        slot = (slot + 1) % SLOTS


@inlined
def round_up(distance: int, step: int) -> int:
    """Return the next multiple of a step."""
    return (distance + step - 1) // step * step
