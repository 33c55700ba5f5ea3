"""Sending: frames of the bots' speech become RTP packets, by each call's own clock.

`sipgw.rtp.packet` is the oracle of the packets.
"""

import numpy as np
import numpy.typing as npt

from sipgw.media_relay.kernels.events import (
    EVENT,
    MARK_REACHED,
    ROOM,
    SPOKE,
    TOTALS,
    Events,
    Totals,
    tell,
)
from sipgw.media_relay.kernels.playout import depth, drop_excess, take_frame
from sipgw.media_relay.kernels.quiet import LoudnessI32
from sipgw.media_relay.kernels.sockets import MSG_DONTWAIT, send
from sipgw.rtp.kernels.columns import CALL, CAPACITY, FAR, Calls, Record
from sipgw.rtp.kernels.declare import BYTES_2D, FLOAT, INT, Array, inlined, kernel
from sipgw.rtp.kernels.memory import copy_bytes
from sipgw.rtp.kernels.wrap import wide, write_16, write_32

BytesU8 = npt.NDArray[np.uint8]
RowsI64 = npt.NDArray[np.int64]

HEADER_BYTES = 12
MOST_LATE = 2
EVENTS_A_ROW = 3
_REPORT_BYTES = 480
"""Consumption is reported every 60 ms."""


@inlined
def skip_lost(sending: Record, tick: int) -> int:
    """Leave out packets that a stall has made too late; return how many. The time passes in the timestamp."""
    lost = (tick - sending["next"]) // sending["period"] - MOST_LATE
    if lost <= 0:
        return 0
    sending["next"] += lost * sending["period"]
    sending["timestamp"] = (wide(sending["timestamp"]) + lost * sending["step"]) & 0xFFFFFFFF
    sending["frame_seq"] += lost
    sending["marker"] = True
    return lost


@inlined
def advance(sending: Record) -> None:
    """Go on to the next packet time."""
    sending["next"] += sending["period"]
    sending["timestamp"] = (wide(sending["timestamp"]) + sending["step"]) & 0xFFFFFFFF
    sending["frame_seq"] += 1


@inlined
def is_report_due(playout: Record) -> bool:
    """Return whether a report to the bot is due: how much of its speech was used up."""
    unsaid = playout["head"] - playout["reported"]
    return unsaid >= _REPORT_BYTES or (unsaid > 0 and depth(playout) == 0)


@inlined
def tell_what_followed(call: Record, row: int, available: int, events: Events, totals: Record) -> None:
    """Add the events that Python has to handle after a frame was taken."""
    playout, sending = call["playout"], call["sending"]
    if available > 0 and sending["is_sending"] and not sending["has_spoken"]:
        sending["has_spoken"] = True
        tell(events, totals, SPOKE, row, 0, 0)
    if playout["next_mark"] <= playout["head"]:
        playout["next_mark"] = FAR
        tell(events, totals, MARK_REACHED, row, 0, 0)
    if playout["far"] > 0 and playout["end"] - playout["head"] <= CAPACITY // 2:
        tell(events, totals, ROOM, row, 0, 0)


@kernel(
    Array(CALL),
    BYTES_2D,
    Array(EVENT),
    Array(TOTALS),
    Array(np.int64),
    Array(np.int64),
    Array(np.uint32),
    Array(np.uint64),
    Array(np.uint8),
    BYTES_2D,
    Array(np.int32),
    INT,
    INT,
    INT,
    INT,
    FLOAT,
)
def take_downlink(
    calls: Calls,
    rings: BytesU8,
    events: Events,
    totals: Totals,
    consumed_rows: RowsI64,
    consumed_bytes: npt.NDArray[np.int64],
    out_rows: npt.NDArray[np.uint32],
    out_seq: npt.NDArray[np.uint64],
    out_flags: npt.NDArray[np.uint8],
    out_payload: BytesU8,
    loudness: LoudnessI32,
    audio_format: int,
    used: int,
    idle_flag: int,
    tick: int,
    now_s: float,
) -> int:
    """Take a frame for each row of a format whose packet is due; return how many. Only `used` rows run."""
    length = out_payload.shape[1]
    count = 0
    total = totals[0]
    for row in range(used):
        call = calls[row]
        sending = call["sending"]
        if sending["next"] > tick or sending["format"] != audio_format:
            continue
        total["skipped"] += skip_lost(sending, tick)
        playout = call["playout"]
        drop_excess(playout, rings[row], length, loudness, now_s)
        available = take_frame(playout, rings[row], out_payload[count], length, now_s)
        tell_what_followed(call, row, available, events, total)
        if is_report_due(playout):
            playout["reported"] = playout["head"]
            consumed_rows[total["consumed"]] = row
            consumed_bytes[total["consumed"]] = playout["head"]
            total["consumed"] += 1
        out_rows[count] = row
        out_seq[count] = sending["frame_seq"]
        out_flags[count] = idle_flag if available == 0 else 0
        count += 1
    return count


@inlined
def write_packet(sending: Record, packet: BytesU8, payload: BytesU8) -> None:
    """Write a row's next packet: a plain header (RFC 3550 §5.1) and the payload."""
    packet[0] = 0x80
    packet[1] = wide(sending["payload_type"]) | (0x80 if sending["marker"] else 0)
    write_16(packet, 2, wide(sending["sequence"]))
    write_32(packet, 4, wide(sending["timestamp"]))
    write_32(packet, 8, wide(sending["ssrc"]))
    copy_bytes(packet, HEADER_BYTES, payload, 0, len(payload))


@kernel(Array(CALL), Array(TOTALS), BYTES_2D, Array(np.int64), Array(np.uint32), BYTES_2D)
def send_frames(
    calls: Calls,
    totals: Totals,
    packets: BytesU8,
    left: RowsI64,
    rows: npt.NDArray[np.uint32],
    payload: BytesU8,
) -> int:
    """Send one frame (n, length) of each row, and go on to its next packet time.

    Rows without a connected socket are written into `left`, their packets (n, length + 12) into `packets`;
    return how many these are.
    """
    without_socket = 0
    for i in range(len(rows)):
        sending = calls[rows[i]]["sending"]
        if sending["is_sending"]:
            packet = packets[without_socket]
            write_packet(sending, packet, payload[i])
            if sending["fd"] < 0:
                left[without_socket] = rows[i]
                without_socket += 1
            elif send(sending["fd"], packet.ctypes, len(packet), MSG_DONTWAIT) < 0:
                totals[0]["send_errors"] += 1  # a full buffer, or an ICMP error of an earlier packet
            sending["sequence"] = (wide(sending["sequence"]) + 1) & 0xFFFF
            sending["marker"] = False
            sending["sent"] += 1
            sending["octets"] += len(payload[i])
        advance(sending)
    return without_socket
