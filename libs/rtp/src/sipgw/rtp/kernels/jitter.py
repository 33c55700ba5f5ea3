"""The jitter buffer of one call; `sipgw.rtp.jitter_buffer` says what it is."""

import numpy as np
import numpy.typing as npt

from sipgw.rtp.kernels import excess
from sipgw.rtp.kernels.columns import CALL, CAPACITY, FAR, SLOT_BYTES, SLOTS, Calls, Record
from sipgw.rtp.kernels.declare import BYTES_2D, FLOAT, Array, inlined, kernel
from sipgw.rtp.kernels.memory import fill, get, put
from sipgw.rtp.kernels.wrap import signed_32, wide

RingU8 = npt.NDArray[np.uint8]  # (CAPACITY,): the audio of one call
FilledI16 = npt.NDArray[np.int16]  # (SLOTS,): bytes that packets brought, a slot

LATE_LIMIT = 4000  # bytes: packets more than 0.5 s late are lost
LATE_RUN_LIMIT = 5  # after so many lost in a row the sender's timestamps have jumped
_FAR_AWAY = 80_000  # a distance that no network causes: 10 s
_LATE = -1


@inlined
def put_packet(
    jitter: Record, ring: RingU8, filled: FilledI16, timestamp: int, data: RingU8, start: int, length: int
) -> None:
    """Put a packet's audio, `length` bytes of `data` from `start` on, in its place; length > 0."""
    position = place(jitter, timestamp, length)
    if position == _LATE:
        return
    put(ring, position, data, start, length)
    count(filled, position, length)
    jitter["end"] = max(jitter["end"], position + length)
    jitter["excess"]["arrived"] += length


@inlined
def place(jitter: Record, timestamp: int, length: int) -> int:
    """Return the position of a packet's audio; _LATE: it is lost."""
    if not jitter["mapped"]:
        map_timestamp(jitter, timestamp)
    reference = wide(jitter["reference_timestamp"])
    position = jitter["reference"] + signed_32(timestamp - reference)
    ahead = position - jitter["head"]
    if ahead < 0 or ahead + length > CAPACITY:
        position = place_extraordinary(jitter, timestamp, position, length)
        if position == _LATE:
            return _LATE
    jitter["late_run"] = 0
    if position >= jitter["reference"]:
        jitter["reference"] = position
        jitter["reference_timestamp"] = timestamp
    return position


@inlined
def place_extraordinary(jitter: Record, timestamp: int, position: int, length: int) -> int:
    """Return the position of a packet that is late or far ahead; _LATE: it is lost."""
    ahead = position - jitter["head"]
    is_lost = ahead < 0 and (ahead < -LATE_LIMIT or position < jitter["heard"])
    if is_lost:
        jitter["late"] += 1
        jitter["late_run"] += 1
    if ahead + length > CAPACITY or ahead < -_FAR_AWAY or (is_lost and jitter["late_run"] >= LATE_RUN_LIMIT):
        map_timestamp(jitter, timestamp)
        if jitter["reference"] + length - jitter["head"] > CAPACITY:
            # The bytes here already leave no room: begin at the reading point.
            jitter["reference"] = jitter["head"]
        return jitter["reference"]
    if is_lost or jitter["end"] - position > CAPACITY:
        return _LATE
    jitter["head"] += ahead // SLOT_BYTES * SLOT_BYTES  # back to the slot that the packet begins in
    return position


@inlined
def map_timestamp(jitter: Record, timestamp: int) -> None:
    """Let a timestamp follow all bytes that are here, at a slot's border."""
    after = max(jitter["head"], jitter["end"])
    jitter["reference"] = (after + SLOT_BYTES - 1) // SLOT_BYTES * SLOT_BYTES
    jitter["reference_timestamp"] = timestamp
    jitter["mapped"] = True


@inlined
def count(filled: FilledI16, position: int, length: int) -> None:
    """Add a packet's bytes to the slots that they fall into."""
    slot = position // SLOT_BYTES % SLOTS
    into = position % SLOT_BYTES
    left = length
    while left > 0:
        part = min(SLOT_BYTES - into, left)
        filled[slot] = min(wide(filled[slot]) + part, SLOT_BYTES)
        left -= part
        into = 0
        slot = (slot + 1) % SLOTS


@inlined
def has_frame(jitter: Record, filled: FilledI16, length: int) -> bool:
    """Return whether a packet has filled every slot of the next `length` bytes."""
    slot = jitter["head"] // SLOT_BYTES % SLOTS
    for _ in range(0, length, SLOT_BYTES):
        if filled[slot] <= 0:
            return False
        slot = (slot + 1) % SLOTS
    return True


@inlined
def clear_counts(jitter: Record, filled: FilledI16, length: int) -> int:
    """Clear the counts of the slots of the next `length` bytes; return how many bytes packets brought."""
    slot = jitter["head"] // SLOT_BYTES % SLOTS
    brought = 0
    for _ in range(0, length, SLOT_BYTES):
        brought += wide(filled[slot])
        filled[slot] = 0
        slot = (slot + 1) % SLOTS
    return brought


@inlined
def depth(jitter: Record) -> int:
    """Return the bytes between the reading point and the newest byte, holes included."""
    return max(jitter["end"] - jitter["head"], 0)


@inlined
def take_frame(
    jitter: Record, ring: RingU8, filled: FilledI16, out: RingU8, length: int, now_s: float
) -> bool:
    """Take the next `length` bytes into `out`; return whether they are silence since no packet came."""
    get(ring, jitter["head"], out, 0, length)
    is_concealed = clear_counts(jitter, filled, length) == 0
    if not is_concealed:
        fill(ring, jitter["head"], jitter["silence"], length)
        jitter["heard"] = jitter["head"] + length
    jitter["head"] += length
    excess.observe(jitter["excess"], depth(jitter), now_s, 0, FAR)
    return is_concealed


@inlined
def skip(jitter: Record, ring: RingU8, filled: FilledI16, length: int) -> None:
    """Drop the next `length` bytes, at most the capacity."""
    clear_counts(jitter, filled, length)
    fill(ring, jitter["head"], jitter["silence"], length)
    jitter["head"] += length
    jitter["heard"] = jitter["head"]


@inlined
def leap(jitter: Record, ring: RingU8, filled: FilledI16, distance: int) -> None:
    """Drop `distance` bytes, in whole slots, for time that was lost."""
    whole = distance // SLOT_BYTES * SLOT_BYTES
    cleared = min(whole, CAPACITY)
    clear_counts(jitter, filled, cleared)
    fill(ring, jitter["head"] // SLOT_BYTES * SLOT_BYTES, jitter["silence"], cleared)
    jitter["head"] += whole
    jitter["heard"] = jitter["head"]


_ROWS = Array(np.int64)
_FILLED = Array(np.int16, 2)


@kernel(Array(CALL), BYTES_2D, _FILLED, _ROWS, Array(np.uint32), BYTES_2D)
def put_packets(
    calls: Calls,
    rings: npt.NDArray[np.uint8],
    filled: npt.NDArray[np.int16],
    rows: npt.NDArray[np.int64],
    timestamps: npt.NDArray[np.uint32],
    payload: npt.NDArray[np.uint8],
) -> int:
    """Put one packet (n, length) of each row in its place."""
    for i in range(len(rows)):
        row = rows[i]
        put_packet(
            calls[row]["jitter"],
            rings[row],
            filled[row],
            wide(timestamps[i]),
            payload[i],
            0,
            payload.shape[1],
        )
    return len(rows)


@kernel(Array(CALL), BYTES_2D, _FILLED, _ROWS, BYTES_2D, Array(np.bool_), FLOAT)
def take_frames(
    calls: Calls,
    rings: npt.NDArray[np.uint8],
    filled: npt.NDArray[np.int16],
    rows: npt.NDArray[np.int64],
    out: npt.NDArray[np.uint8],
    concealed: npt.NDArray[np.bool_],
    now_s: float,
) -> int:
    """Take a frame (n, length) of each row."""
    for i in range(len(rows)):
        row = rows[i]
        concealed[i] = take_frame(calls[row]["jitter"], rings[row], filled[row], out[i], out.shape[1], now_s)
    return len(rows)
