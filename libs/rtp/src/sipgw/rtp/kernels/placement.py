"""Place a packet's audio on the timeline of its call, by the rules in `sipgw.rtp.jitter_buffer`."""

from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from sipgw.rtp.kernels import transit
from sipgw.rtp.kernels.columns import CAPACITY, FAR, SLOT_BYTES, Record
from sipgw.rtp.kernels.concealment import HISTORY
from sipgw.rtp.kernels.declare import inlined
from sipgw.rtp.kernels.reading_point import move_back, round_up, skip
from sipgw.rtp.kernels.wrap import signed_16, signed_32, wide

RingU8 = npt.NDArray[np.uint8]  # (CAPACITY,): the audio of one call
FilledI16 = npt.NDArray[np.int16]  # (SLOTS,): bytes that packets brought, a slot
Header: TypeAlias = tuple[int, int, int]
"""A packet's sequence number, timestamp and marker."""

LATE = -(1 << 62)
"""The position of audio that is lost."""
_LATE_LIMIT = 4000  # bytes: audio that is more than 0.5 s late is heard as if it were on time
_MISSED_LIMIT = 2400  # bytes: missing packets put what follows them off by at most 0.3 s
_MISORDER = 100  # packets: a number further back is of a sender that has begun anew
_REMEMBERED = 62  # packets: it is known which of so many came
_SEEN = (1 << _REMEMBERED) - 1
_WAVERING = SLOT_BYTES  # bytes: timestamps that are off by less, from one packet to the next, are not exact
_ROOM = CAPACITY - HISTORY


@inlined
def place(
    jitter: Record, ring: RingU8, filled: FilledI16, header: Header, now: int, stalled: int, length: int
) -> int:
    """Return the position of a packet's audio; LATE: it is lost."""
    sequence, timestamp, _ = header
    advance = signed_16(sequence - wide(jitter["sequence"]))
    if advance < -_MISORDER:
        jitter["mapped"] = False
    if not jitter["mapped"]:
        begin_stream(jitter, sequence, timestamp, length)
        advance = 1
    if advance > 0:
        return place_newer(jitter, ring, filled, header, now, stalled, length)
    return place_older(jitter, ring, header, now, stalled, length)


@inlined
def begin_stream(jitter: Record, sequence: int, timestamp: int, length: int) -> None:
    """Let a stream's first timestamp follow all bytes that are here, at a slot's border."""
    jitter["mapped"] = True
    jitter["sequence"] = (sequence - 1) & 0xFFFF
    jitter["seen"] = 0
    jitter["shift"] = 0
    jitter["packet"] = length
    jitter["reference"] = max(round_up(jitter["end"], SLOT_BYTES), jitter["head"])
    jitter["reference_timestamp"] = timestamp
    jitter["end"] = jitter["reference"]
    jitter["inserted"] = 0
    jitter["ahead"] = 0
    transit.restart(jitter["transit"])


@inlined
def place_newer(
    jitter: Record, ring: RingU8, filled: FilledI16, header: Header, now: int, stalled: int, length: int
) -> int:
    """Return the position of a packet with a newer number than all before. It is never lost."""
    sequence, timestamp, marker = header
    missed = pass_number(jitter, sequence) - 1
    jitter["packet"] = length
    end = jitter["end"]
    stamped = jitter["reference"] + signed_32(timestamp - wide(jitter["reference_timestamp"]))
    position = settle(jitter, stamped, missed * length, marker, now)
    if position < jitter["head"]:
        late_by = jitter["head"] - position
        if late_by > _LATE_LIMIT or jitter["end"] - position > _ROOM:
            position = jitter["head"]
            jitter["inserted"] += late_by
        else:  # nothing newer was heard: go back to the slot that the packet begins in
            move_back(jitter, ring, round_up(late_by, SLOT_BYTES))
    too_much = position + length - jitter["head"] - _ROOM
    if too_much > 0:
        skip(jitter, ring, filled, round_up(too_much, SLOT_BYTES))
    if position != stamped:
        jitter["shift"] = position - stamped
        jitter["shifted_from"] = sequence
        if position > end:
            transit.restart(jitter["transit"])
    if jitter["rest_until"] == FAR:
        jitter["rest_until"] = position
    jitter["reference"] = position
    jitter["reference_timestamp"] = timestamp
    transit.note(jitter["transit"], now, position, stalled)
    return position


@inlined
def settle(jitter: Record, stamped: int, missed: int, marker: int, now: int) -> int:
    """Return the position of a newer packet: that of its timestamp, unless that is impossible.

    `stamped`: what the timestamp says. `missed`: bytes of the packets before it that have not come. A
    timestamp can't go back, and audio that comes now is for now: one that is ahead of that, by more than is
    missing, leapt, or the caller was silent meanwhile, and silence is cut at no loss.
    """
    end, present = jitter["end"], place_now(jitter, now)
    gap = stamped - end
    missed = min(missed, max(present - end, 0) + _MISSED_LIMIT)
    if gap == missed or (0 <= gap <= missed and not marker):
        return stamped
    if not marker and missed == 0 and -_WAVERING <= gap <= _WAVERING and end >= jitter["head"]:
        return end
    latest = stamped if gap >= 0 else end + missed
    earliest = end if marker or gap < 0 else end + missed
    return max(min(latest, present), max(earliest, jitter["head"]))  # noqa: PLW3301 - numba takes two


@inlined
def place_older(jitter: Record, ring: RingU8, header: Header, now: int, stalled: int, length: int) -> int:
    """Return the position of a packet that newer ones have overtaken; LATE: it is lost, or a copy."""
    sequence, timestamp, _ = header
    behind = -signed_16(sequence - wide(jitter["sequence"]))
    if was_seen(jitter, behind):
        return LATE
    position = jitter["reference"] + signed_32(timestamp - wide(jitter["reference_timestamp"]))
    if jitter["shift"] != 0 and signed_16(sequence - wide(jitter["shifted_from"])) < 0:
        position -= jitter["shift"]  # it was sent before the timestamps leapt
    if position + length > jitter["end"]:
        return LATE
    if position < jitter["heard"] or jitter["end"] - position > _ROOM:
        jitter["late"] += 1
        deepen(jitter, ring, position, now - stalled)
        return LATE
    if position < jitter["head"]:
        late_by = jitter["head"] - position
        move_back(jitter, ring, round_up(late_by, SLOT_BYTES))
    transit.note(jitter["transit"], now, position, stalled)
    return position


@inlined
def deepen(jitter: Record, ring: RingU8, position: int, now: int) -> None:
    """Read later from now on, so that a packet as late as the one for this position would be heard."""
    zero = transit_of_last_moment(jitter)
    late_by = now - position - zero
    fastest = transit.least(jitter["transit"])
    depth = zero - fastest if fastest != FAR else 0
    if late_by <= 0 or depth + late_by > transit.MOST_DEPTH:
        return
    transit.note(jitter["transit"], now, position, 0)
    distance = round_up(late_by, step(jitter))
    if jitter["end"] - jitter["head"] + distance <= _ROOM:
        move_back(jitter, ring, distance)


@inlined
def transit_of_last_moment(jitter: Record) -> int:
    """Return the transit time of a packet that comes just in time to be heard.

    A frame that is longer than a packet is due with its last packet.
    """
    return jitter["due"] - jitter["head"] - max(jitter["frame"] - jitter["packet"], 0)


@inlined
def place_now(jitter: Record, now: int) -> int:
    """Return the position of audio that arrives now, at the depth that the network needs."""
    ahead = now - transit_of_last_moment(jitter) + jitter["transit"]["target"] - jitter["head"]
    return jitter["head"] + round_up(max(ahead, 0), step(jitter))


@inlined
def step(jitter: Record) -> int:
    """Return the distance by which packets move against frames: one packet stays in one frame."""
    return max(round_up(min(jitter["frame"], jitter["packet"]), SLOT_BYTES), SLOT_BYTES)


@inlined
def pass_number(jitter: Record, sequence: int) -> int:
    """Note a packet's sequence number; return by how much it is newer than all before."""
    advance = signed_16(sequence - wide(jitter["sequence"]))
    if advance > 0:
        jitter["seen"] = (jitter["seen"] << advance | 1) & _SEEN if advance < _REMEMBERED else 1
        jitter["sequence"] = sequence
    return advance


@inlined
def begin_rest(jitter: Record, sequence: int, level: int) -> None:
    """Note a packet of comfort noise (RFC 3389 §3): the caller is silent after the audio before it.

    `level`: of its noise, -dBov.
    """
    if pass_number(jitter, sequence) > 0:
        jitter["rest_from"] = jitter["end"]
        jitter["rest_until"] = FAR
        jitter["rest_level"] = level


@inlined
def was_seen(jitter: Record, behind: int) -> bool:
    """Return whether a packet has arrived before, and note it. Packets too old to remember count as seen."""
    if behind >= _REMEMBERED or jitter["seen"] >> behind & 1:
        return True
    jitter["seen"] |= np.int64(1) << behind
    return False
