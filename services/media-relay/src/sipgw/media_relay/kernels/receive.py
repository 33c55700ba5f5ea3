"""Receiving: datagrams become statistics and audio in the jitter rings; all else becomes an event.

`sipgw.rtp.packet` (headers), `sipgw.rtp.reception` and the tests' jitter model are the oracles.
"""

import numpy as np
import numpy.typing as npt

from sipgw.media_relay.kernels.events import (
    EVENT,
    FORMER_CODEC,
    KEY,
    RTCP,
    TOTALS,
    Events,
    Totals,
    tell,
)
from sipgw.media_relay.kernels.sockets import EPOLL_EVENT, MSG_DONTWAIT, SLOT, epoll_wait, recv
from sipgw.rtp.kernels import reception
from sipgw.rtp.kernels.columns import CALL, Calls, Record
from sipgw.rtp.kernels.declare import BYTES_2D, INT, Array, inlined, kernel
from sipgw.rtp.kernels.jitter import TICK_BYTES, FilledI16, RingU8, put_packet
from sipgw.rtp.kernels.placement import begin_rest, pass_number
from sipgw.rtp.kernels.wrap import read_16, read_32, signed_16, wide

BytesU8 = npt.NDArray[np.uint8]

HEADER_BYTES = 12
COMFORT_NOISE = 13
"""The payload type of G.711's, never agreed here: some callers send it all the same (RFC 3389 §4)."""
_OLD_SSRC_SILENCE_TICKS = 12
"""After 60 ms of silence another SSRC is accepted at once."""
INVALID = -1


@inlined
def payload_start(data: BytesU8, length: int) -> int:
    """Return where a packet's payload begins (RFC 3550 §5.1, §5.3.1); INVALID: the packet is malformed."""
    first = wide(data[0])
    if length < HEADER_BYTES or length >= SLOT or first & 0xC0 != 0x80:
        return INVALID
    start = HEADER_BYTES + 4 * (first & 0x0F)
    if first & 0x10:
        if start + 4 > length:
            return INVALID
        start += 4 + 4 * read_16(data, start + 2)
    return start if start <= length else INVALID


@inlined
def payload_length(data: BytesU8, start: int, length: int) -> int:
    """Return the payload's length without padding (RFC 3550 §5.1); INVALID: the padding is impossible."""
    if not wide(data[0]) & 0x20:
        return length - start
    padding = wide(data[length - 1])
    return length - start - padding if 0 < padding and padding <= length - start else INVALID  # noqa: SIM300


@inlined
def meets(call: Record, ssrc: int, number: int, tick: int) -> bool:
    """Judge a packet of another SSRC; return whether it is the caller's from now on.

    It is when the old one is silent or brought nothing but keys, or when the new one continues.
    """
    source = call["source"]
    if source["has_ssrc"]:
        is_silent = tick - source["ssrc_heard"] > _OLD_SSRC_SILENCE_TICKS
        brought_nothing_but_keys = not call["reception"]["begun"]
        goes_on = source["candidate_ssrc"] == ssrc and source["candidate_next"] == number
        source["candidate_ssrc"] = ssrc
        source["candidate_next"] = (number + 1) & 0xFFFF
        if not (is_silent or brought_nothing_but_keys or goes_on):
            return False
        source["earlier_received"] += reception.received(call["reception"])
        source["earlier_lost"] += max(reception.lost(call["reception"]), 0)
        reception.reset(call["reception"])
        call["jitter"]["mapped"] = False
    source["ssrc"] = ssrc
    source["has_ssrc"] = True
    source["highest"] = (number - 1) & 0xFFFF
    return True


@inlined
def is_event_type(source: Record, payload_type: int) -> bool:
    """Tell whether a payload type is that of telephone events.

    A caller that answers our offer with another number should send under ours (RFC 3264 §6.1); many send
    under theirs.
    """
    return bool(
        payload_type == source["event_payload_type"] or payload_type == source["peers_event_payload_type"]
    )


@inlined
def take_packet(
    call: Record,
    ring: RingU8,
    filled: FilledI16,
    data: BytesU8,
    start: int,
    length: int,
    tick: int,
    missed: int,
    arrival: int,
) -> None:
    """Take a packet of the present source: count it, and put its audio into the jitter ring."""
    source = call["source"]
    number = read_16(data, 2)
    timestamp = read_32(data, 4)
    is_event = is_event_type(source, wide(data[1]) & 0x7F)
    counted = reception.count_packet(call["reception"], number, timestamp, arrival, not is_event)
    if signed_16(number - wide(source["highest"])) > 0:
        source["highest"] = number
    source["last_heard"] = tick
    source["ssrc_heard"] = tick
    if is_event:
        pass_number(call["jitter"], number)
    elif not counted or length <= 0 or not source["is_receiving"]:
        return
    elif wide(data[1]) & 0x7F == COMFORT_NOISE:
        begin_rest(call["jitter"], number, wide(data[start]) & 0x7F)
    else:
        header = (number, timestamp, wide(data[1]) >> 7)
        now, stalled = tick * TICK_BYTES, missed * TICK_BYTES
        put_packet(call["jitter"], ring, filled, header, now, stalled, data, start, length)


@inlined
def take_datagram(
    call: Record,
    ring: RingU8,
    filled: FilledI16,
    data: BytesU8,
    size: int,
    row: int,
    slot: int,
    tick: int,
    missed: int,
    arrival: int,
    events: Events,
    totals: Record,
) -> None:
    """Take a datagram of the caller's address."""
    source = call["source"]
    second = wide(data[1])
    if source["is_muxed"] and size >= 2 and second >= 192 and second <= 223:
        tell(events, totals, RTCP, row, slot, size)
        return
    start = payload_start(data, size)
    length = payload_length(data, start, size) if start != INVALID else INVALID
    if length == INVALID:
        totals["malformed"] += 1
        return
    payload_type = second & 0x7F
    is_same = source["has_ssrc"] and source["ssrc"] == read_32(data, 8)
    is_event = is_event_type(source, payload_type)
    if is_event and source["has_ssrc"] and not is_same:
        # Keys may have an SSRC of their own; that of the audio and its statistics never follow them.
        source["last_heard"] = tick
        tell(events, totals, KEY, row, slot, size)
    elif not is_event and payload_type != source["payload_type"] and payload_type != COMFORT_NOISE:
        if payload_type == source["former_payload_type"]:
            tell(events, totals, FORMER_CODEC, row, slot, size)
        else:
            totals["unexpected"] += 1
            source["last_heard"] = tick
    elif is_same or meets(call, read_32(data, 8), read_16(data, 2), tick):
        take_packet(call, ring, filled, data, start, length, tick, missed, arrival)
        if is_event:
            tell(events, totals, KEY, row, slot, size)


@kernel(
    Array(CALL),
    BYTES_2D,
    Array(np.int16, 2),
    Array(EVENT),
    Array(TOTALS),
    Array(np.int64),
    BYTES_2D,
    Array(np.int32),
    INT,
    INT,
    INT,
)
def take_datagrams(
    calls: Calls,
    rings: BytesU8,
    filled: npt.NDArray[np.int16],
    events: Events,
    totals: Totals,
    rows: npt.NDArray[np.int64],
    datagrams: BytesU8,
    sizes: npt.NDArray[np.int32],
    tick: int,
    missed: int,
    arrival: int,
) -> int:
    """Take one datagram (n, SLOT) of each row; there is room for an event of each."""
    totals[0]["events"] = 0
    for i in range(len(rows)):
        row = rows[i]
        take_datagram(
            calls[row],
            rings[row],
            filled[row],
            datagrams[i],
            wide(sizes[i]),
            row,
            i,
            tick,
            missed,
            arrival,
            events,
            totals[0],
        )
    return len(rows)


@kernel(
    Array(CALL),
    BYTES_2D,
    Array(np.int16, 2),
    Array(EVENT),
    Array(TOTALS),
    BYTES_2D,
    Array(np.int32),
    Array(EPOLL_EVENT),
    INT,
    INT,
    INT,
    INT,
    INT,
)
def receive(
    calls: Calls,
    rings: BytesU8,
    filled: npt.NDArray[np.int16],
    events: Events,
    totals: Totals,
    slots: BytesU8,
    row_of_fd: npt.NDArray[np.int32],
    ready: npt.NDArray[np.void],
    epoll: int,
    tick: int,
    missed: int,
    arrival: int,
    rounds: int,
) -> int:
    """Read the sockets of an epoll, one datagram of each a round. Return the rounds still to be made.

    `missed`: ticks before this one in which nothing was read.
    Datagrams of events stay in `slots` (n, SLOT) until the next call, which is needed once all are in use.
    """
    totals[0]["events"] = 0
    slot = 0
    while rounds > 0:
        count = epoll_wait(epoll, ready.ctypes, len(ready), 0)
        if count <= 0:
            return 0
        for i in range(count):
            if slot == len(slots):
                return rounds
            fd = ready[i]["fd"]
            size = recv(fd, slots[slot].ctypes, SLOT, MSG_DONTWAIT)
            if size < 0:  # an ICMP error of an earlier send
                continue
            row = wide(row_of_fd[fd])
            before = totals[0]["events"]
            take_datagram(
                calls[row],
                rings[row],
                filled[row],
                slots[slot],
                size,
                row,
                slot,
                tick,
                missed,
                arrival,
                events,
                totals[0],
            )
            if totals[0]["events"] != before:
                slot += 1
        rounds -= 1
    return 0
