"""The relay's receiving side (receiver, jitter buffer, uplink) in virtual time, without sockets."""

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from impaired.networks import Packets
from sipgw.audio import AudioFormat, Codec
from sipgw.media_relay.kernels.sockets import SLOT
from sipgw.media_relay.pipeline import FrameBlock, FrameFlag, MediaPipeline, Tick
from sipgw.media_relay.pipeline.stage import TICK_MS
from sipgw.media_relay.rtp.receiver import NO_PAYLOAD_TYPE, RtpReceiver
from sipgw.media_relay.rtp.uplink import Uplink
from sipgw.rtp.jitter_buffer import JitterBuffer
from sipgw.rtp.kernels.columns import new_calls
from sipgw.rtp.packet import RtpPacket

WIRE: Final = AudioFormat(Codec.PCMU, 8000, 20)
_SSRC: Final = 0x51B6
_AFTER_MS: Final = 2000


@dataclass(frozen=True, slots=True)
class Frame:
    """A frame of audio that the bot gets."""

    at_ms: int
    seq: int
    is_concealed: bool
    payload: bytes


class Bots:
    """A stage that takes the frames of all rows and keeps them."""

    def __init__(self, rows: int) -> None:
        self.frames: list[list[Frame]] = [[] for _ in range(rows)]

    def uplink(self, block: FrameBlock, tick: Tick) -> FrameBlock:
        """Keep the frames."""
        for i, row in enumerate(block.rows.tolist()):
            is_concealed = bool(block.flags[i] & FrameFlag.CONCEALED)
            payload = block.payload[i].tobytes()
            self.frames[row].append(Frame(tick.number * TICK_MS, int(block.seq[i]), is_concealed, payload))
        return block.take(np.zeros(len(block), np.bool_))

    def downlink(self, block: FrameBlock, tick: Tick) -> FrameBlock:
        """Say nothing."""
        return block


class Listener:
    """Ignores keys and RTCP: callers send none."""

    def on_event_packet(self, row: int, packet: RtpPacket) -> None:
        """Ignore a key."""

    def on_rtcp(self, row: int, datagram: bytes) -> None:
        """Ignore a report."""


def run(calls: Sequence[Packets]) -> list[list[Frame]]:
    """Return what the bot of each call gets."""
    rows = len(calls)
    jitter, bots = JitterBuffer(new_calls(rows)), Bots(rows)
    receiver = RtpReceiver(jitter, Listener())
    uplink = Uplink(jitter, MediaPipeline((bots,)))
    for row in range(rows):
        jitter.open(row, silence=WIRE.silence, now_s=0.0)
        receiver.open(row, 0)
        receiver.configure(
            row, payload_type=0, event_payload_type=NO_PAYLOAD_TYPE, is_muxed=False, is_receiving=True
        )
        uplink.open(row, WIRE)
    waiting = [sorted(packets, key=lambda each: each.at_ms, reverse=True) for packets in calls]
    last_ms = max(packets[0].at_ms for packets in waiting) + _AFTER_MS
    datagrams = np.zeros((rows, SLOT), np.uint8)
    for number in range(int(last_ms) // TICK_MS):
        tick = Tick(number, number * TICK_MS / 1000)
        while (lengths := _receive(waiting, number * TICK_MS, datagrams)).any():
            some = np.flatnonzero(lengths)
            for row in some.tolist():
                uplink.align(row, number)  # the first packet starts the clock
            receiver.receive(some, datagrams[some], lengths[some], tick)
        uplink.run(tick)
    return bots.frames


def _receive(waiting: list[Packets], now_ms: int, datagrams: npt.NDArray[np.uint8]) -> npt.NDArray[np.int32]:
    """Write each row's next packet that has arrived; return the lengths, 0 for rows without a packet."""
    lengths = np.zeros(len(waiting), np.int32)
    for row, packets in enumerate(waiting):
        if packets and packets[-1].at_ms <= now_ms:
            packet = packets.pop()
            second = packet.marker << 7 | packet.payload_type
            header = struct.pack("!BBHII", 0x80, second, packet.sequence, packet.timestamp, _SSRC)
            datagram = header + packet.payload
            datagrams[row, : len(datagram)] = np.frombuffer(datagram, np.uint8)
            lengths[row] = len(datagram)
    return lengths
