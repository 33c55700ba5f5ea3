"""CALL: the columns of all calls, one record a call. Kernels and Python work on the same memory.

A part's columns are a nested record. A tick is 5 ms; a position counts bytes of G.711 since the row was
opened, 8000 a second, and never wraps.
"""

from typing import Any, Final, TypeAlias

import numpy as np
import numpy.typing as npt

Calls: TypeAlias = npt.NDArray[Any]
"""An array of CALL, shape (rows,)."""
Record: TypeAlias = Any
"""One record: an entry of such an array, or of a nested one."""

SLOT_BYTES: Final = 80
"""A slot of a ring: 10 ms."""
SLOTS: Final = 128
"""Slots of a call's ring: 1.28 s."""
CAPACITY: Final = SLOT_BYTES * SLOTS
FAR: Final = 1 << 62
"""More bytes than any queue has."""
NEVER: Final = 1 << 60
"""A tick that does not come."""

RECEPTION: Final = np.dtype(
    [
        ("begun", np.bool_),  # whether a packet came
        ("timed", np.bool_),  # whether there is a transit time to compare with
        ("base", np.int64),  # the first sequence number
        ("highest", np.int64),  # the highest sequence number, extended
        ("expected_next", np.int32),  # after a jump: the next number of a restarted sender; -1: none
        ("received", np.int64),  # packets since base
        ("received_before", np.int64),  # packets before the sender restarted
        ("lost_before", np.int64),  # packets, likewise
        ("expected_prior", np.int64),  # packets expected by the last report
        ("received_prior", np.int64),  # packets received by the last report
        ("transit", np.int32),  # of the last packet, timestamp units
        ("jitter", np.float64),  # interarrival jitter, timestamp units
    ],
    align=True,
)
"""Reception statistics of the present source (RFC 3550 §A.1, §A.3, §A.8)."""

EXCESS: Final = np.dtype(
    [
        ("window_start", np.float64),  # when the present half window began, s
        ("minimum", np.int64),  # least depth in it, bytes
        ("arrived", np.int64),  # bytes that came in it
        ("elapsed_before", np.float64),  # length of the half window before, s; 0: there is none
        ("minimum_before", np.int64),  # its least depth, bytes
        ("arrived_before", np.int64),  # bytes that came in it
        ("debt", np.int64),  # bytes still to be dropped
        ("owed_since", np.float64),  # s
        ("patience", np.float64),  # for how long only quiet frames are dropped, s
        ("was_full", np.bool_),  # whether the queue was full in the present half window
        ("was_full_before", np.bool_),  # likewise in the one before
        ("turn", np.bool_),  # flips: every second frame is dropped when patience is over
    ],
    align=True,
)
"""The excess depth of a queue (`sipgw.rtp.excess`)."""

TRANSIT: Final = np.dtype(
    [
        ("begun", np.int64),  # when its first packets were read, samples of our clock
        ("window_start", np.int64),  # when the present half window began, likewise
        ("least", np.int64),  # least transit time in it, samples; FAR: no packet came
        ("most", np.int64),  # most transit time in it
        ("least_before", np.int64),  # the same of the half window before
        ("most_before", np.int64),
        ("halves", np.int64),  # half windows since the needs were put aside
        ("need_1", np.int64),  # the largest spread of transit times in a half window since then, samples
        ("need_2", np.int64),  # the second largest
        ("need_1_before", np.int64),  # the same, put aside
        ("need_2_before", np.int64),
        ("target", np.int64),  # the depth that the spread asks for, samples
    ],
    align=True,
)
"""Transit times of packets, less the least of them (`sipgw.rtp.kernels.transit`)."""

JITTER: Final = np.dtype(
    [
        ("silence", np.uint8),  # the codec's byte for silence
        ("mapped", np.bool_),  # whether a timestamp has a position
        ("sequence", np.uint16),  # the newest packet's number
        ("seen", np.int64),  # which packets up to that came: bit 0 is the newest
        ("reference_timestamp", np.uint32),  # the newest audio packet's timestamp
        ("reference", np.int64),  # its position
        ("packet", np.int64),  # its length, bytes
        ("shift", np.int64),  # by how much positions moved against timestamps when they last leapt
        ("shifted_from", np.uint16),  # the first packet after that
        ("head", np.int64),  # the next position to be taken
        ("due", np.int64),  # when it is to be taken, samples of our clock
        ("frame", np.int64),  # how much is taken at once, bytes
        ("end", np.int64),  # after the newest byte
        ("heard", np.int64),  # after the newest byte taken
        ("late", np.int64),  # packets that came too late
        ("lost_at", np.int64),  # where the present hole began
        ("missing", np.int64),  # bytes of it that were concealed; 0: there is no hole
        ("pitch", np.int64),  # period of the voice before it, samples
        ("rest_from", np.int64),  # the position from which the caller says that it is silent; FAR: it did not
        ("rest_until", np.int64),  # the position at which it speaks again; FAR: it does not yet
        ("rest_level", np.int64),  # of its noise, -dBov
        ("noise", np.int64),  # state of the generator of noise
        ("transit", TRANSIT),
        ("debt", np.int64),  # by how much later than need be frames are taken, samples
        ("waited", np.int64),  # of the depth: what came since frames were waited for, samples
        ("inserted", np.int64),  # of the depth: what was made up for packets which were then heard late
        ("ahead", np.int64),  # bytes by which frames are ahead of time, since that delay was made up for
        ("ahead_since", np.int64),  # since when that is a frame or more, samples of our clock
    ],
    align=True,
)
"""The caller's jitter buffer (`sipgw.rtp.jitter_buffer`)."""

SOURCE: Final = np.dtype(
    [
        ("payload_type", np.uint8),  # agreed for audio; 255: none
        ("event_payload_type", np.uint8),  # agreed for telephone events; 255: none
        ("peers_event_payload_type", np.uint8),  # under which the caller takes them, and may send; 255: none
        ("former_payload_type", np.uint8),  # of the codec before this one; 255: none
        ("is_muxed", np.bool_),  # whether RTCP comes to the RTP port
        ("is_receiving", np.bool_),  # whether audio is heard; not on hold
        ("has_ssrc", np.bool_),  # whether a packet came
        ("highest", np.uint16),  # the newest sequence number
        ("ssrc", np.uint32),  # of the audio; of keys until audio comes
        ("candidate_ssrc", np.uint32),  # of the last packet of another source
        ("candidate_next", np.int32),  # the sequence number that would continue it; -1: none
        ("ssrc_heard", np.int64),  # tick of its last packet
        ("last_heard", np.int64),  # tick of the last packet of any SSRC, or of the row's opening
        ("earlier_received", np.int64),  # packets of earlier SSRCs
        ("earlier_lost", np.int64),  # packets of earlier SSRCs that were lost
    ],
    align=True,
)
"""The caller's source: the packets that are accepted, and the times of their arrival."""

UPLINK: Final = np.dtype(
    [
        ("format", np.uint8),  # number of the format of the frames
        ("flowing", np.bool_),  # whether a packet brought the last frame
        ("met", np.bool_),  # whether the caller's first packet has come
        ("next", np.int64),  # the tick in which a frame is due; NEVER: the clock stands still
        ("period", np.int64),  # ticks between two frames
        ("seq", np.int64),  # of the next frame
        ("waited", np.int64),  # ticks for which it has been waited for
        ("origin", np.int64),  # the tick of seq 0, for calls from another relay; NEVER: it began here
    ],
    align=True,
)
"""The clock by which the caller's audio is given to the pipeline."""

PLAYOUT: Final = np.dtype(
    [
        ("silence", np.uint8),  # the codec's byte for silence
        ("is_audible", np.bool_),  # whether the caller hears the row; on hold audio is used up unheard
        ("head", np.int64),  # the next position to be taken
        ("end", np.int64),  # after the newest byte in the ring
        ("far", np.int64),  # bytes that wait for room in the ring
        ("seen", np.int64),  # the end at the time when audio was last taken
        ("next_mark", np.int64),  # the position of the next mark; FAR: there is none
        ("reported", np.int64),  # the position up to which the bot was told that its speech was used up
        ("played", np.int64),  # bytes that the caller heard
        ("excess", EXCESS),
    ],
    align=True,
)
"""The queue of the bot's speech."""

SENDING: Final = np.dtype(
    [
        ("fd", np.int32),  # the socket connected to the caller; -1: there is none
        ("format", np.uint8),  # number of the format of the wire
        ("payload_type", np.uint8),  # of the audio sent
        ("is_sending", np.bool_),  # not on hold
        ("marker", np.bool_),  # whether the next packet has the marker bit
        ("has_spoken", np.bool_),  # whether the bot was heard
        ("sequence", np.uint16),  # of the next packet
        ("ssrc", np.uint32),  # of what we send
        ("timestamp", np.uint32),  # of the next packet
        ("next", np.int64),  # the tick in which it is due; NEVER: the clock stands still
        ("period", np.int64),  # ticks between two packets
        ("step", np.int64),  # timestamp units between two packets
        ("frame_seq", np.int64),  # periods since the row was opened
        ("sent", np.int64),  # packets
        ("octets", np.int64),  # of their payload
    ],
    align=True,
)
"""RTP to the caller."""

TURN: Final = np.dtype(
    [
        ("last_caller", np.int64),  # tick of the caller's last frame with speech
        ("last_bot", np.int64),  # tick of the bot's last frame with speech
        ("has_asked", np.bool_),  # whether the caller has spoken since the bot's last turn
    ],
    align=True,
)
"""The turns of caller and bot."""

TRACK: Final = np.dtype(
    [
        ("has_base", np.bool_),  # whether a frame came
        ("base", np.int64),  # the position of frame 0
        ("reached", np.int64),  # after the newest byte
    ],
    align=True,
)
"""One channel of a recording."""

RECORDING: Final = np.dtype(
    [
        ("is_on", np.bool_),  # whether the call is recorded
        ("origin", np.int64),  # the tick of the first frame of either side; -1: none came
        ("flushed", np.int64),  # the position up to which the writer has everything
        ("due", np.int64),  # the position at which the present piece ends
        ("left", TRACK),
        ("right", TRACK),
    ],
    align=True,
)
"""The recording of a call, caller left and bot right."""

CALL: Final = np.dtype(
    [
        ("source", SOURCE),
        ("reception", RECEPTION),
        ("jitter", JITTER),
        ("uplink", UPLINK),
        ("playout", PLAYOUT),
        ("sending", SENDING),
        ("turn", TURN),
        ("recording", RECORDING),
    ],
    align=True,
)


def new_calls(rows: int) -> Calls:
    """Return the columns of `rows` calls, all zero."""
    return np.zeros(rows, CALL)
