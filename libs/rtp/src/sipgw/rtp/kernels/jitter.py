"""The jitter buffer of one call: packets in, frames out. See `sipgw.rtp.jitter_buffer`."""

import numpy as np
import numpy.typing as npt

from sipgw.rtp.kernels import transit
from sipgw.rtp.kernels.columns import CALL, FAR, SLOT_BYTES, SLOTS, Calls, Record
from sipgw.rtp.kernels.concealment import SILENT_AFTER, conceal, fade_in, rest
from sipgw.rtp.kernels.declare import BYTES_2D, INT, Array, inlined, kernel
from sipgw.rtp.kernels.memory import fill, get, put
from sipgw.rtp.kernels.placement import LATE, Header, place, transit_of_last_moment
from sipgw.rtp.kernels.wrap import wide

RingU8 = npt.NDArray[np.uint8]  # (CAPACITY,): the audio of one call
FilledI16 = npt.NDArray[np.int16]  # (SLOTS,): bytes that packets brought, a slot

_PATIENCE = 80_000  # samples: only quiet frames are left out for 10 s
_RARELY = 1600  # samples: then a loud one every 0.2 s
TICK_BYTES = 40


_ROWS = Array(np.int64)
_FILLED = Array(np.int16, 2)


@inlined
def reset(jitter: Record, now: int) -> None:
    """Begin a row anew."""
    jitter["mapped"] = False
    jitter["seen"] = 0
    jitter["shift"] = 0
    jitter["packet"] = 2 * SLOT_BYTES
    jitter["frame"] = 2 * SLOT_BYTES
    jitter["head"] = 0
    jitter["due"] = now
    jitter["end"] = 0
    jitter["heard"] = 0
    jitter["late"] = 0
    jitter["missing"] = SILENT_AFTER
    jitter["rest_from"] = FAR
    jitter["debt"] = 0
    jitter["waited"] = 0
    jitter["inserted"] = 0
    jitter["ahead"] = 0
    transit.reset(jitter["transit"], now)


@inlined
def put_packet(
    jitter: Record,
    ring: RingU8,
    filled: FilledI16,
    header: Header,
    now: int,
    stalled: int,
    data: RingU8,
    start: int,
    length: int,
) -> None:
    """Put a packet's audio, `length` bytes of `data` from `start` on, in its place; length > 0.

    `now`: our clock, samples. `stalled`: of these, how many we had not looked for packets.
    """
    position = place(jitter, ring, filled, header, now, stalled, length)
    if position == LATE:
        return
    clear_unfilled(jitter, ring, filled, position, length)
    put(ring, position, data, start, length)
    count(filled, position, length)
    jitter["end"] = max(jitter["end"], position + length)


@inlined
def clear_unfilled(jitter: Record, ring: RingU8, filled: FilledI16, position: int, length: int) -> None:
    """Write silence into slots that a packet is the first to fill, and only in part: they hold old audio."""
    for at in (position, position + length - 1):
        slot = at // SLOT_BYTES
        is_part = position > slot * SLOT_BYTES or position + length < (slot + 1) * SLOT_BYTES
        if is_part and filled[slot % SLOTS] == 0:
            fill(ring, slot * SLOT_BYTES, jitter["silence"], SLOT_BYTES)


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
    """Return whether packets have filled every slot of the next `length` bytes, or no more can arrive."""
    if jitter["rest_from"] <= jitter["head"] < jitter["rest_until"]:
        return True
    slot = jitter["head"] // SLOT_BYTES % SLOTS
    for _ in range(0, length, SLOT_BYTES):
        if filled[slot] <= 0:
            return False
        slot = (slot + 1) % SLOTS
    return True


@inlined
def depth(jitter: Record) -> int:
    """Return the bytes between the reading point and the newest byte, holes included."""
    return max(jitter["end"] - jitter["head"], 0)


@inlined
def take_frame(jitter: Record, ring: RingU8, filled: FilledI16, out: RingU8, length: int, now: int) -> bool:
    """Take the next `length` bytes, whole slots, into `out`; return whether they are concealed.

    They are concealed if no packet brought audio and the caller has not announced silence.
    """
    head = jitter["head"]
    is_concealed = True
    for start in range(0, length - SLOT_BYTES + 1, SLOT_BYTES):
        slot = (head + start) // SLOT_BYTES % SLOTS
        if filled[slot] > 0:
            filled[slot] = 0
            get(ring, head + start, out, start, SLOT_BYTES)
            is_concealed = False
            jitter["heard"] = head + length
            if jitter["missing"] == 0:
                continue
            fade_in(jitter, ring, out, start)
        elif jitter["rest_from"] <= head + start < jitter["rest_until"]:
            rest(jitter, out, start)
            is_concealed = False
        else:
            conceal(jitter, ring, out, start)
        put(ring, head + start, out, start, SLOT_BYTES)
    jitter["head"] = head + length
    jitter["due"] = now + length
    jitter["frame"] = length
    return is_concealed


@inlined
def settle(jitter: Record, now: int) -> None:
    """Find out what the buffer owes after a half window, when it is known when the next frame is due.

    Made-up audio that is not delay stood for a pause of the caller that its timestamps do not count.
    """
    if not transit.is_over(jitter["transit"], now):
        return
    zero = transit_of_last_moment(jitter)
    owes = transit.excess(jitter["transit"], now, zero)
    jitter["debt"] = max(owes, 0)
    if owes >= 0:
        depth = max(zero - transit.least(jitter["transit"]), 0)
        jitter["waited"] = min(jitter["waited"], depth)
        jitter["inserted"] = min(jitter["inserted"], depth)
    transit.turn(jitter["transit"], now)


@inlined
def make_up(jitter: Record, length: int, now: int) -> None:
    """Note that frames are taken earlier by `length` from now on; so those made up put them ahead of time."""
    jitter["debt"] -= length
    waited = min(jitter["waited"], length)
    jitter["waited"] -= waited
    inserted = min(jitter["inserted"], length - waited)
    jitter["inserted"] -= inserted
    if jitter["ahead"] < jitter["frame"]:
        jitter["ahead_since"] = now
    jitter["ahead"] += inserted


@inlined
def may_leave_out(jitter: Record, filled: FilledI16, quiet: bool, length: int, now: int) -> bool:  # noqa: FBT001
    """Return whether the next frame may be left out, since frames are ahead of time.

    `quiet`: of what packets brought for it.
    """
    if jitter["ahead"] < length:
        return False
    if not has_frame(jitter, filled, length):
        return jitter["missing"] >= SILENT_AFTER
    return quiet or now - jitter["ahead_since"] >= _PATIENCE


@inlined
def note_left_out(jitter: Record, quiet: bool, length: int, now: int) -> None:  # noqa: FBT001
    """Note that a frame was left out."""
    jitter["ahead"] -= length
    if not quiet:
        jitter["ahead_since"] = now - _PATIENCE + _RARELY


@kernel(Array(CALL), BYTES_2D, _FILLED, _ROWS, Array(np.int64, 2), BYTES_2D, INT)
def put_packets(
    calls: Calls,
    rings: npt.NDArray[np.uint8],
    filled: npt.NDArray[np.int16],
    rows: npt.NDArray[np.int64],
    headers: npt.NDArray[np.int64],
    payload: npt.NDArray[np.uint8],
    now: int,
) -> int:
    """Put one packet (n, length) of each row in its place. `headers` (n, 3): see Header."""
    for i in range(len(rows)):
        row = rows[i]
        header = (headers[i, 0], headers[i, 1], headers[i, 2])
        put_packet(
            calls[row]["jitter"],
            rings[row],
            filled[row],
            header,
            now,
            0,
            payload[i],
            0,
            payload.shape[1],
        )
    return len(rows)


@kernel(Array(CALL), BYTES_2D, _FILLED, _ROWS, BYTES_2D, Array(np.bool_), INT)
def take_frames(
    calls: Calls,
    rings: npt.NDArray[np.uint8],
    filled: npt.NDArray[np.int16],
    rows: npt.NDArray[np.int64],
    out: npt.NDArray[np.uint8],
    concealed: npt.NDArray[np.bool_],
    now: int,
) -> int:
    """Take a frame (n, length) of each row."""
    for i in range(len(rows)):
        row = rows[i]
        concealed[i] = take_frame(calls[row]["jitter"], rings[row], filled[row], out[i], out.shape[1], now)
        settle(calls[row]["jitter"], now)
    return len(rows)
